//! What was said, in lines.

use std::collections::VecDeque;

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use sotto_proto::content::MessageId;

use super::Palette;
use crate::rpc_client::{Message, SendState};
use crate::tui::app::{App, Focus};
use crate::tui::conversation::{Conversation, body, words};
use crate::tui::measure::{cut, width, wrap};

/// Columns before a text.
const INDENT: usize = 2;

/// As many lines as there is room for: those that end with the newest message, or with the chosen one where that is further
/// up.
pub(super) fn lines(
    app: &App,
    conversation: &Conversation,
    (columns, rows): (usize, usize),
    palette: Palette,
) -> Vec<Line<'static>> {
    let draw = Draw { app, conversation, columns, palette };
    let selected = conversation.selected.and_then(|cursor| conversation.index(cursor));
    let selected = if app.focus == Focus::List { None } else { selected };
    let all = conversation.messages.len();
    let (lines, first) = draw.until(all, rows, selected);
    let lines = match selected {
        // It is above what fits with the newest below.
        Some(at) if at < first => draw.until(at + 1, rows, selected).0,
        _ => lines,
    };
    if lines.is_empty() {
        let text = if conversation.is_whole { "nothing was said yet" } else { "…" };
        return vec![Line::styled(text, palette.dim())];
    }
    lines.into()
}

/// What it takes to draw messages.
#[derive(Clone, Copy)]
struct Draw<'a> {
    app: &'a App,
    conversation: &'a Conversation,
    columns: usize,
    palette: Palette,
}

impl Draw<'_> {
    /// The last lines of everything before an index, and the index of the first message that is there as a whole.
    fn until(self, end: usize, rows: usize, selected: Option<usize>) -> (VecDeque<Line<'static>>, usize) {
        let mut lines = VecDeque::new();
        if end == self.conversation.messages.len() {
            for outgoing in self.conversation.sending.iter().rev() {
                self.outgoing(&outgoing.text).into_iter().rev().for_each(|line| lines.push_front(line));
            }
        }
        let mut first = end;
        while first > 0 && lines.len() < rows {
            let block = self.block(first - 1, selected == Some(first - 1));
            // The chosen one begins where it can be seen to begin.
            if selected == Some(first - 1) && lines.is_empty() && block.len() > rows {
                return (block.into_iter().take(rows).collect(), first - 1);
            }
            first -= 1;
            block.into_iter().rev().for_each(|line| lines.push_front(line));
        }
        let surplus = lines.len().saturating_sub(rows);
        if surplus > 0 {
            lines.drain(..surplus);
            first += 1;
        }
        (lines, first)
    }

    fn block(self, at: usize, is_selected: bool) -> Vec<Line<'static>> {
        let Some(message) = self.conversation.messages.get(at) else { return Vec::new() };
        let mut lines = Vec::new();
        let before = at.checked_sub(1).and_then(|at| self.conversation.messages.get(at));
        if before.is_none_or(|before| day(before) != day(message)) {
            lines.push(Line::styled(format!("── {} (UTC) ──", cut(day(message), 10)), self.palette.dim()));
        }
        match message.missing_before {
            0 => {}
            1 => lines.push(Line::styled("… 1 message missing …", self.palette.warning())),
            missing => lines.push(Line::styled(format!("… {missing} messages missing …"), self.palette.warning())),
        }
        lines.push(self.heading(message, is_selected));
        if let Some(reply) = &message.reply_to {
            let quoted = self.quoted(reply.id(), reply.words());
            lines.push(Line::styled(self.indented(&format!("↳ {quoted}")), self.palette.dim()));
        }
        let style = if message.body.is_none() || message.deleted { self.palette.dim() } else { Style::new() };
        let texts = wrap(&body(message), self.columns.saturating_sub(INDENT));
        lines.extend(texts.into_iter().map(|text| Line::styled(format!("{}{text}", " ".repeat(INDENT)), style)));
        if !message.reactions.is_empty() {
            let reactions =
                message.reactions.iter().map(|reaction| format!("{} {}", reaction.emoji, self.by(&reaction.by)));
            lines.push(Line::raw(self.indented(&reactions.collect::<Vec<_>>().join("  "))));
        }
        lines
    }

    /// Who, when, and what became of it.
    fn heading(self, message: &Message, is_selected: bool) -> Line<'static> {
        let time = message.sent.get(11..16).unwrap_or_default();
        let mark = if is_selected { ">" } else { " " };
        let (who, style) = if message.outgoing {
            ("you".to_owned(), self.palette.own())
        } else {
            (cut(&self.conversation.name, self.columns / 2), self.palette.strong())
        };
        let mut about = Vec::new();
        if message.edited && !message.deleted {
            about.push("edited".to_owned());
        }
        if let Some(state) = SendState::of(message).filter(|_| message.outgoing) {
            about.push(state.to_string());
        }
        if let Some(until) = &message.expires_at {
            about.push(format!("until {}", until.get(..16).unwrap_or_default().replace('T', " ")));
        }
        let used = width(&who) + time.len() + 5;
        let about = cut(&about.join(" · "), self.columns.saturating_sub(used));
        let line = Line::from(vec![
            Span::raw(format!("{mark}{time} ")),
            Span::styled(who, style),
            Span::styled(format!("  {about}"), self.palette.dim()),
        ]);
        if is_selected { line.style(self.palette.chosen()) } else { line }
    }

    /// What was sent and is not in the history yet.
    fn outgoing(self, text: &str) -> Vec<Line<'static>> {
        let heading = Line::from(vec![
            Span::raw("   …   "),
            Span::styled("you", self.palette.own()),
            Span::styled(format!("  {}", self.app.step.as_deref().unwrap_or("on its way")), self.palette.dim()),
        ]);
        let texts = wrap(text, self.columns.saturating_sub(INDENT));
        let texts = texts.into_iter().map(|text| Line::raw(format!("{}{text}", " ".repeat(INDENT))));
        std::iter::once(heading).chain(texts).collect()
    }

    fn indented(self, text: &str) -> String {
        format!("{}{}", " ".repeat(INDENT), cut(text, self.columns.saturating_sub(INDENT)))
    }

    /// What a message answers.
    fn quoted(self, id: &str, said: Option<&str>) -> String {
        let id: Option<MessageId> = id.parse().ok();
        let known = self.conversation.messages.iter().find(|message| Some(message.id) == id);
        known.map(words).or_else(|| said.map(str::to_owned)).unwrap_or_else(|| "an earlier message".to_owned())
    }

    /// What somebody is called who reacts.
    fn by(self, who: &str) -> String {
        let is_own = self.app.own.as_ref().is_some_and(|own| own.id.to_string() == who);
        match who.parse() {
            _ if is_own => "you".to_owned(),
            Ok(account) => self.app.called(&account),
            Err(_) => who.to_owned(),
        }
    }
}

/// The day a message was sent, as it is written.
fn day(message: &Message) -> &str {
    message.sent.get(..10).unwrap_or_default()
}
