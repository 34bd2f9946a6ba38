//! `sotto verify`: whether nobody stands between.

mod question;

use clap::{Args, Subcommand};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::time::UnixMillis;

use super::context::{Context, clock};
use super::recipient::{Recipient, called};
use super::status::rfc3339;
use super::{CliError, Exit};
use crate::crypto::{SafetyNumber, Scanned};
use crate::store::{OpenAccount, Transaction, VerifiedBy};
use crate::text::quoted;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the safety number: the other side must see the same
    Show(One),
    Compare(Compare),
    /// Say that the number was compared by voice or face to face, and is the same
    Confirm(One),
    /// List contacts, and which of them are verified
    List,
    /// Draw the code that the other side scans
    Qr(One),
    Scan(Scan),
    Ask(question::Ask),
    Answer(question::AnswerIt),
}

/// A contact.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
}

/// Compare the number that the other side sees; if it is the same, the contact is verified
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// Sixty digits, with spaces or without
    #[arg(required = true, value_name = "DIGITS")]
    digits: Vec<String>,
}

/// Compare with the code of the other side's screen; if it is right, the contact is verified
#[derive(Debug, Args)]
pub(super) struct Scan {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// What a scanner read: SOTTO-VERIFY:…
    #[arg(value_name = "TEXT")]
    code: String,
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let verb = match self {
            Self::Ask(ask) => return ask.run(context),
            Self::Answer(answer) => return answer.run(context),
            verb => verb,
        };
        let mut unlocked = context.unlock()?;
        let account = &mut unlocked.account;
        match verb {
            Self::Ask(_) | Self::Answer(_) => Ok(Exit::Done),
            Self::Show(one) => {
                let shown = Shown::look_up(account, &one.which)?;
                context.out.result(&shown.document(), shown.lines())?;
                Ok(Exit::Done)
            }
            Self::Qr(one) => {
                let shown = Shown::look_up(account, &one.which)?;
                context.out.result(&shown.document(), shown.drawn()?)?;
                Ok(Exit::Done)
            }
            Self::Compare(compare) => {
                let shown = Shown::look_up(account, &compare.which)?;
                shown.compare(&compare.digits.concat())?;
                verify(context, account, &compare.which)
            }
            Self::Scan(scan) => {
                let shown = Shown::look_up(account, &scan.which)?;
                shown.scan(&scan.code)?;
                verify(context, account, &scan.which)
            }
            Self::Confirm(one) => verify(context, account, &one.which),
            Self::List => list(context, account),
        }
    }
}

/// Marks a contact.
fn verify(context: &Context, account: &mut OpenAccount, which: &Recipient) -> Result<Exit, CliError> {
    account.change(|tx, _| {
        let contact = which.contact(tx)?;
        let now = clock();
        tx.set_verified(&contact.account, now)?;
        let name = called(tx, &contact.account)?;
        context.out.result(&told(&contact.account, &contact.name, Some(now)), format!("✓ {name} is verified"))?;
        Ok(Exit::Done)
    })
}

fn list(context: &Context, account: &mut OpenAccount) -> Result<Exit, CliError> {
    account.change(|tx, _| {
        for contact in tx.contacts()? {
            let verified = tx.verified(&contact.account)?;
            let by = tx.verified_by(&contact.account)?;
            let how = if by == Some(VerifiedBy::Question) { " by question" } else { "" };
            let at = verified.map_or_else(|| "not verified".to_owned(), |at| format!("{}{how}", rfc3339(at)));
            let text = format!("{:<20}  {at}", called(tx, &contact.account)?);
            context.out.result(&told(&contact.account, &contact.name, verified), text)?;
        }
        Ok(Exit::Done)
    })
}

/// Whether somebody may be written to, where only who is verified may be.
pub(super) fn check(tx: &Transaction<'_>, account: &Address) -> Result<(), CliError> {
    if tx.verified(account)?.is_some() {
        return Ok(());
    }
    let name = called(tx, account)?;
    Err(CliError::new(Exit::Identity, "unverified", format!("{name} is not verified, and --trust is never"))
        .hint(format!("sotto verify show {}", quoted(&name))))
}

fn told(account: &Address, name: &str, verified: Option<UnixMillis>) -> Value {
    json!({
        "v": 1, "type": "verification", "account": account.to_string(), "name": name,
        "verified": verified.is_some(), "verified_at": verified.map(rfc3339),
    })
}

/// A safety number with what it is of.
struct Shown {
    account: Address,
    /// What it is called.
    name: String,
    number: SafetyNumber,
    verified: Option<UnixMillis>,
}

impl Shown {
    fn look_up(open: &mut OpenAccount, which: &Recipient) -> Result<Self, CliError> {
        let chain = *open.chain();
        open.change(|tx, own| {
            let (account, _) = which.find(tx)?;
            let number = SafetyNumber::new(&chain, &own.account.address(), &account);
            Ok(Self { account, name: called(tx, &account)?, number, verified: tx.verified(&account)? })
        })
    }

    fn document(&self) -> Value {
        let mut document = told(&self.account, &self.name, self.verified);
        if let Some(document) = document.as_object_mut() {
            document.insert("type".to_owned(), "safety_number".into());
            document.insert("digits".to_owned(), self.number.digits().into());
            document.insert("code".to_owned(), self.number.code().into());
        }
        document
    }

    fn lines(&self) -> String {
        let number = self.number.to_string().replace('\n', "\n  ");
        let next = match self.verified {
            Some(at) => format!("verified {}", rfc3339(at)),
            None => format!(
                "{} must see the same: compare by voice or face to face, then: sotto verify confirm {}",
                self.name,
                quoted(&self.name)
            ),
        };
        format!("  {number}\n{next}")
    }

    fn drawn(&self) -> Result<String, CliError> {
        let code = QrCode::new(self.number.code())
            .map_err(|error| CliError::new(Exit::Internal, "qr", format!("cannot draw the code: {error}")))?;
        let drawn = code.render::<Dense1x2>().build();
        Ok(format!("{drawn}\n{} scans it, or reads it here: {}", self.name, self.number.code()))
    }

    fn compare(&self, digits: &str) -> Result<(), CliError> {
        match self.number.matches(digits) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.wrong("the other side sees another number")),
            Err(error) => Err(CliError::new(Exit::Failed, "digits", error.to_string()).hint("all twelve groups")),
        }
    }

    fn scan(&self, code: &str) -> Result<(), CliError> {
        match self.number.scan(code) {
            Ok(Scanned::Match) => Ok(()),
            Ok(Scanned::Own) => Err(CliError::new(Exit::Failed, "own_code", "this is the code of this side itself")
                .hint(format!("scan the screen of {}: sotto verify qr shows it there", self.name))),
            Ok(Scanned::Other) => Err(self.wrong("the code is of other accounts")),
            Err(error) => Err(CliError::new(Exit::Failed, "code", error.to_string())),
        }
    }

    /// Somebody stands between, or it is another contact's.
    fn wrong(&self, what: &str) -> CliError {
        CliError::new(Exit::Identity, "other_number", format!("{what}: it is not {}'s", self.name)).hint(format!(
            "is it the right contact? if so, its account id came from somebody else: \
             compare with what it says of itself, and: sotto contact block {}",
            quoted(&self.name)
        ))
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::id::{ChainId, X25519Key};

    use super::*;

    fn account(byte: u8) -> Address {
        Address::account(&X25519Key::new([byte; 32]))
    }

    fn shown(own: u8, other: u8, name: &str) -> Shown {
        let number = SafetyNumber::new(&ChainId::new([7; 32]), &account(own), &account(other));
        Shown { account: account(other), name: name.to_owned(), number, verified: None }
    }

    #[test]
    fn a_number_is_two_lines_and_says_what_to_do_with_it() {
        let shown = shown(1, 2, "O'Brien");
        let lines: Vec<_> = shown.lines().lines().map(str::to_owned).collect();
        let [first, second, next] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(format!("{}\n{}", first.trim(), second.trim()), shown.number.to_string());
        assert_eq!((first.len(), second.len()), (37, 37));
        let expected =
            r"O'Brien must see the same: compare by voice or face to face, then: sotto verify confirm 'O'\''Brien'";
        assert_eq!(next, expected);
        let verified = Shown { verified: Some(UnixMillis(0)), ..shown };
        assert!(verified.lines().ends_with("\nverified 1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn programs_are_told_the_digits_the_code_and_whether_it_is_verified() {
        let shown = shown(1, 2, "carol");
        let document = shown.document();
        let expected = json!({
            "v": 1, "type": "safety_number", "account": account(2).to_string(), "name": "carol", "verified": false,
            "verified_at": null, "digits": shown.number.digits(), "code": shown.number.code(),
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn another_number_ends_with_the_code_of_an_identity_and_a_mistyped_one_does_not() {
        let (alice, bob, mallory) = (shown(1, 2, "bob"), shown(2, 1, "alice"), shown(3, 1, "alice"));
        assert_eq!(alice.compare(&bob.number.to_string()), Ok(()));
        assert_eq!(alice.scan(&bob.number.code()), Ok(()));
        let code = |result: Result<(), CliError>| result.map_err(|error| (error.exit, error.code));
        assert_eq!(code(alice.compare(&mallory.number.digits())), Err((Exit::Identity, "other_number")));
        assert_eq!(code(alice.scan(&mallory.number.code())), Err((Exit::Identity, "other_number")));
        assert_eq!(code(alice.compare("12345")), Err((Exit::Failed, "digits")));
        assert_eq!(code(alice.scan("12345")), Err((Exit::Failed, "code")));
        assert_eq!(code(alice.scan(&alice.number.code())), Err((Exit::Failed, "own_code")));
    }

    #[test]
    fn a_code_is_drawn_in_the_small_alphabet_of_qr_codes() {
        let drawn = shown(1, 2, "bob").drawn().unwrap();
        // 143 characters of that alphabet are 41 modules wide; bytes would take more.
        assert_eq!(drawn.lines().next().unwrap().chars().count(), 41 + 8, "{drawn}");
    }

    #[test]
    fn only_who_is_verified_may_be_written_to_where_nobody_is_trusted() {
        let mut store = crate::store::Store::in_memory();
        let tx = store.transaction().unwrap();
        let (account, name) = (account(2), "Bob B".to_owned());
        let error = check(&tx, &account).unwrap_err();
        assert_eq!(
            (error.exit, error.code, error.hint),
            (Exit::Identity, "unverified", Some(format!("sotto verify show {account}")))
        );
        let (state, created) = (crate::store::ContactState::Accepted, UnixMillis(0));
        tx.put_contact(&crate::store::Contact { account, name, said_name: None, state, created }).unwrap();
        assert_eq!(check(&tx, &account).unwrap_err().hint.as_deref(), Some("sotto verify show 'Bob B'"));
        tx.set_verified(&account, UnixMillis(5)).unwrap();
        assert_eq!(check(&tx, &account), Ok(()));
    }
}
