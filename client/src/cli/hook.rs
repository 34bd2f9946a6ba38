//! `sotto hook`: events to a program that listens on HTTP.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

use super::context::Context;
use super::daemon::{Hook, Hooks, MOST_HOOKS};
use super::{CliError, Exit, input};
use crate::store::AccountName;
use crate::text::printable_line;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    Add(Add),
    /// List hooks, and how they fare
    List,
    /// Post a made-up event to a hook
    Test {
        /// Its name
        name: AccountName,
    },
    /// Post nothing there any more
    Remove {
        /// Its name
        name: AccountName,
    },
}

/// Have the daemon post each event that comes to a URL of this machine
#[derive(Debug, Args)]
pub(super) struct Add {
    /// http://127.0.0.1:PORT/PATH
    url: String,
    /// The secret that signs what is posted (HMAC-SHA-256), 16 bytes at least
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// What the hook is called
    #[arg(long, value_name = "NAME", default_value = "hook")]
    name: AccountName,
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Add(add) => add.run(context),
            Self::List => list(context),
            Self::Test { name } => test(context, &name),
            Self::Remove { name } => remove(context, &name),
        }
    }
}

impl Add {
    fn run(self, context: &Context) -> Result<Exit, CliError> {
        let secret = input::read_secret(&context.file(&self.secret_file), |warning| context.out.say(warning))?;
        let mut account = context.unlock()?.account;
        let hook = Hook::new(self.name.as_str(), &self.url, &secret, account.store.newest()?)?;
        let mut hooks = Hooks::read(&account.store)?;
        if hooks.0.iter().any(|other| other.name == hook.name) {
            let message = format!("there is a hook called {:?} already", hook.name);
            return Err(CliError::new(Exit::Conflict, "exists", message).hint("--name NAME, or sotto hook remove"));
        }
        if hooks.0.len() == MOST_HOOKS {
            return Err(CliError::new(Exit::Conflict, "too_many", format!("there are {MOST_HOOKS} hooks already")));
        }
        let text = format!("✓ what comes from now on is posted to {} while the daemon runs", self.url);
        context.out.result(&document(&hook), text)?;
        hooks.0.push(hook);
        hooks.write(&mut account.store)?;
        Ok(Exit::Done)
    }
}

fn document(hook: &Hook) -> Value {
    json!({
        "v": 1, "type": "hook", "name": hook.name, "url": format!("http://{}{}", hook.address, hook.path),
        "cursor": hook.cursor.to_string(), "failures": hook.failures, "given_up": hook.given_up,
        "problem": hook.problem,
    })
}

fn list(context: &Context) -> Result<Exit, CliError> {
    for hook in Hooks::read(&context.unlock()?.account.store)?.0 {
        let mut text = format!("{}  http://{}{}", printable_line(&hook.name), hook.address, hook.path);
        if let Some(problem) = &hook.problem {
            text.push_str(&format!("  failed {} times: {}", hook.failures, printable_line(problem)));
        }
        if hook.given_up > 0 {
            text.push_str(&format!("  {} events given up", hook.given_up));
        }
        context.out.result(&document(&hook), text)?;
    }
    Ok(Exit::Done)
}

fn find(hooks: &Hooks, name: &AccountName) -> Result<usize, CliError> {
    hooks.0.iter().position(|hook| hook.name == name.as_str()).ok_or_else(|| {
        CliError::new(Exit::NotFound, "not_found", format!("there is no hook called {name:?}", name = name.as_str()))
            .hint("sotto hook list")
    })
}

fn test(context: &Context, name: &AccountName) -> Result<Exit, CliError> {
    let hooks = Hooks::read(&context.unlock()?.account.store)?;
    let hook = hooks.0.get(find(&hooks, name)?);
    let event = json!({"v": 1, "type": "hook.test"});
    let posted = match hook {
        Some(hook) => Context::runtime()?.block_on(hook.post(&event)),
        None => Ok(()),
    };
    posted.map_err(|problem| {
        CliError::new(Exit::Network, "hook", format!("the hook does not take it: {problem}"))
            .hint("does the program listen there, and answer with 2xx?")
    })?;
    context.out.result(&json!({"v": 1, "type": "hook.tested", "name": name.as_str()}), "✓ taken")?;
    Ok(Exit::Done)
}

fn remove(context: &Context, name: &AccountName) -> Result<Exit, CliError> {
    let mut account = context.unlock()?.account;
    let mut hooks = Hooks::read(&account.store)?;
    hooks.0.remove(find(&hooks, name)?);
    hooks.write(&mut account.store)?;
    context
        .out
        .result(&json!({"v": 1, "type": "hook.removed", "name": name.as_str()}), format!("{name} is removed"))?;
    Ok(Exit::Done)
}
