//! Flags and environment variables, made from the table of settings.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Origin, SETTINGS, Setting, Settings};

/// Settings that every command takes: logging.
pub(super) type GlobalSettings = SettingArgs<true>;
/// Settings of the node itself.
pub(super) type NodeSettings = SettingArgs<false>;

/// What the command line and the environment say of the settings with this `global`.
#[derive(Clone, Debug, Default)]
pub(super) struct SettingArgs<const GLOBAL: bool>(Vec<(&'static Setting, String, Origin)>);

impl<const GLOBAL: bool> SettingArgs<GLOBAL> {
    fn table() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| setting.global == GLOBAL)
    }

    /// Lays them over the settings so far.
    pub(super) fn lay(&self, settings: &mut Settings) {
        for (setting, text, origin) in &self.0 {
            settings.set(setting, text.clone(), origin.clone());
        }
    }

    /// Those there are, with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Setting, &str)> {
        self.0.iter().map(|(setting, text, _)| (*setting, text.as_str()))
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let help = match setting.default {
        "" | "false" => setting.help.to_owned(),
        default => format!("{} [default: {default}]", setting.help),
    };
    let heading = if setting.global { "Logging" } else { "Settings" };
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .env(setting.environment)
        .help(help)
        .help_heading(heading)
        .global(setting.global);
    if setting.value.is_empty() {
        argument.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("true|false")
    } else {
        argument.num_args(1).value_name(setting.value)
    }
}

impl<const GLOBAL: bool> FromArgMatches for SettingArgs<GLOBAL> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = Self::table()
            .filter_map(|setting| {
                let text = matches.get_one::<String>(setting.name)?;
                let origin = match matches.value_source(setting.name)? {
                    ValueSource::CommandLine => Origin::Flag(setting.name),
                    ValueSource::EnvVariable => Origin::Environment(setting.environment),
                    _ => return None,
                };
                Some((setting, text.clone(), origin))
            })
            .collect();
        Ok(())
    }
}

impl<const GLOBAL: bool> Args for SettingArgs<GLOBAL> {
    fn augment_args(command: Command) -> Command {
        Self::table().fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_take_a_value_or_none() {
        let command = NodeSettings::augment_args(Command::new("x"));
        for (argument, expected) in [("--register", "true"), ("--register=false", "false")] {
            let matches = command.clone().try_get_matches_from(["x", argument]).unwrap();
            let args = NodeSettings::from_arg_matches(&matches).unwrap();
            assert_eq!(
                args.iter().map(|(setting, text)| (setting.name, text)).collect::<Vec<_>>(),
                [("register", expected)]
            );
        }
    }
}
