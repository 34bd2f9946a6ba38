//! What the terminal shows.
//!
//! ```text
//! header
//! list │ title
//!      │ messages, or what is shown in their place
//! ─────┴─ what an input is for ───
//! input, of up to five lines
//! status
//! ```
//!
//! Narrow terminals show the list or the messages, whichever keys go to. Every text of others comes through `measure`.

mod messages;
mod views;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::app::{App, Focus};
use super::conversation::{Compose, Conversation, body};
use super::measure::{cut, typed, width};
use super::views::View;

/// From so many columns on, the list and the messages are side by side.
const BOTH: u16 = 70;
/// Columns and rows without which nothing is shown.
const LEAST: (u16, u16) = (20, 6);
/// Lines of the input, at most.
const INPUT: usize = 5;

/// How things look. Nothing is told by colour alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) color: bool,
}

impl Palette {
    fn colored(self, color: Color, modifier: Modifier) -> Style {
        let style = Style::new().add_modifier(modifier);
        if self.color { style.fg(color) } else { style }
    }

    fn strong(self) -> Style {
        self.colored(Color::Cyan, Modifier::BOLD)
    }

    fn own(self) -> Style {
        self.colored(Color::Green, Modifier::BOLD)
    }

    fn dim(self) -> Style {
        self.colored(Color::DarkGray, Modifier::DIM)
    }

    fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn warning(self) -> Style {
        self.colored(Color::Yellow, Modifier::BOLD)
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App, palette: Palette) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        frame.buffer_mut().set_string(area.x, area.y, cut("too small", usize::from(area.width)), Style::new());
        return;
    }
    let columns = usize::from(area.width);
    // The header, a message, the rule and the status are always there.
    let most = INPUT.min(usize::from(area.height) - 4);
    let input = Input::of(app, columns, most);
    let rows = u16::try_from(input.lines.len()).unwrap_or(1);
    let [header, main, rule, below, status] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(rows),
        Constraint::Length(1),
    ])
    .areas(area);
    let buffer = frame.buffer_mut();
    put(buffer, header, 0, ends(head(app), requests(app), columns).style(palette.chosen()));
    draw_main(buffer, main, app, palette);
    draw_rule(buffer, rule, app, palette);
    for (row, line) in input.lines.iter().enumerate() {
        put(buffer, below, row, Line::styled(line.clone(), if input.is_hint { palette.dim() } else { Style::new() }));
    }
    put(buffer, status, 0, status_line(app, palette, columns));
    if let Some((row, column)) = input.place {
        let (x, y) = (u16::try_from(column).unwrap_or_default(), u16::try_from(row).unwrap_or_default());
        frame.set_cursor_position((below.x + x.min(below.width.saturating_sub(1)), below.y + y));
    }
}

/// A line in a row of an area, if it has that row.
fn put(buffer: &mut Buffer, area: Rect, row: usize, line: impl Into<Line<'static>>) {
    let Ok(row) = u16::try_from(row) else { return };
    if row < area.height {
        let line = line.into();
        if line.style != Style::new() {
            buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, line.style);
        }
        buffer.set_line(area.x, area.y + row, &line, area.width);
    }
}

/// A text at the left end of a line and one at the right, which goes first where there is no room for both.
fn ends(left: String, right: String, columns: usize) -> Line<'static> {
    let right = if width(&left) + width(&right) + 2 > columns { String::new() } else { right };
    let left = cut(&left, columns);
    let gap = columns.saturating_sub(width(&left) + width(&right));
    Line::from(format!("{left}{}{right}", " ".repeat(gap)))
}

fn head(app: &App) -> String {
    let own = app.own.as_ref().map_or_else(String::new, |own| format!("  {} ({})", own.name, own.id.short()));
    format!("Sotto{own}")
}

fn requests(app: &App) -> String {
    let some = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let parts = [some(app.unread(), "unread (u)"), some(app.requests.len(), "asking (R)"), Some("? help".to_owned())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn draw_main(buffer: &mut Buffer, area: Rect, app: &App, palette: Palette) {
    let shows_list = app.view == View::Talk && app.focus == Focus::List;
    if area.width < BOTH {
        if shows_list {
            draw_list(buffer, area, app, palette)
        } else {
            draw_pane(buffer, area, app, palette)
        }
        return;
    }
    let list = (area.width * 3 / 10).clamp(20, 32);
    let [list, line, pane] =
        Layout::horizontal([Constraint::Length(list), Constraint::Length(2), Constraint::Min(1)]).areas(area);
    draw_list(buffer, list, app, palette);
    for y in line.top()..line.bottom() {
        buffer.set_string(line.x, y, "│ ", palette.dim());
    }
    draw_pane(buffer, pane, app, palette);
}

/// Names, each with its last words below it.
fn draw_list(buffer: &mut Buffer, area: Rect, app: &App, palette: Palette) {
    let columns = usize::from(area.width);
    if app.conversations.is_empty() {
        for (row, text) in ["nobody yet", "n asks somebody to talk"].into_iter().enumerate() {
            put(buffer, area, row, Line::styled(cut(text, columns), palette.dim()));
        }
        return;
    }
    let fit = usize::from(area.height / 2).max(1);
    let from = app.place().unwrap_or_default().saturating_sub(fit - 1);
    for (row, conversation) in app.conversations.iter().skip(from).take(fit).enumerate() {
        let is_chosen = app.chosen == Some(conversation.account);
        let unread = match conversation.unread.len() {
            0 => String::new(),
            unread => format!("({unread})"),
        };
        let mark = if conversation.is_verified { " ✓" } else { "" };
        let room = columns.saturating_sub(width(&unread) + width(mark) + 3);
        let name = format!("{} {}{mark}", if is_chosen { '>' } else { ' ' }, cut(&conversation.name, room));
        let style = match (is_chosen && app.focus == Focus::List, conversation.unread.is_empty()) {
            (true, _) => palette.chosen(),
            (false, false) => palette.strong(),
            (false, true) => Style::new(),
        };
        put(buffer, area, 2 * row, ends(name, unread, columns).style(style));
        let words = format!("  {}", cut(&last_words(conversation, is_chosen), columns.saturating_sub(2)));
        put(buffer, area, 2 * row + 1, Line::styled(words, palette.dim()));
    }
}

fn last_words(conversation: &Conversation, is_chosen: bool) -> String {
    if conversation.typing_until.is_some() {
        return "writes …".to_owned();
    }
    match (conversation.state.as_deref(), conversation.written()) {
        (Some("asked"), _) if conversation.last.1.is_empty() => "asked, no answer yet".to_owned(),
        (Some("blocked"), _) => "blocked".to_owned(),
        (_, draft) if !is_chosen && !draft.is_empty() => format!("draft: {draft}"),
        _ => conversation.last.1.clone(),
    }
}

fn draw_pane(buffer: &mut Buffer, area: Rect, app: &App, palette: Palette) {
    let Rect { width, height, .. } = area;
    let below = Rect { y: area.y + 1, height: height.saturating_sub(1), ..area };
    let (title, columns) = (views::title(app), usize::from(width));
    put(buffer, area, 0, Line::styled(cut(&title, columns), palette.strong()));
    let lines = match (&app.view, app.conversation()) {
        (View::Talk, Some(conversation)) => {
            messages::lines(app, conversation, (columns, usize::from(height) - 1), palette)
        }
        (View::Talk, None) => vec![Line::styled("nobody is chosen", palette.dim())],
        (view, _) => views::lines(app, view, (columns, usize::from(height) - 1), palette),
    };
    for (row, line) in lines.into_iter().enumerate() {
        put(buffer, below, row, line);
    }
}

/// What the input is for, in the line above it.
fn draw_rule(buffer: &mut Buffer, area: Rect, app: &App, palette: Palette) {
    let columns = usize::from(area.width);
    let said = match app.conversation() {
        Some(conversation) if app.prompt.is_none() => match &conversation.compose {
            Compose::Reply(id) => {
                let quoted = conversation.messages.iter().find(|message| message.id == *id).map(body);
                format!(" reply to “{}” ", cut(&quoted.unwrap_or_default(), columns / 2))
            }
            Compose::Edit { .. } => " another wording ".to_owned(),
            Compose::New if conversation.typing_until.is_some() => format!(" {} writes … ", conversation.name),
            Compose::New => String::new(),
        },
        _ => String::new(),
    };
    let said = cut(&said, columns.saturating_sub(4));
    let line = format!("──{said}{}", "─".repeat(columns.saturating_sub(2 + width(&said))));
    put(buffer, area, 0, Line::styled(line, palette.dim()));
}

/// The input's lines, and where the cursor is in them.
struct Input {
    lines: Vec<String>,
    place: Option<(usize, usize)>,
    is_hint: bool,
}

impl Input {
    fn of(app: &App, columns: usize, most: usize) -> Self {
        if let Some(prompt) = &app.prompt {
            let question = prompt.question.text();
            let (lines, (row, column)) =
                typed(prompt.field.text(), prompt.field.at(), columns.saturating_sub(width(question)).max(8));
            let line = lines.get(row).cloned().unwrap_or_default();
            let place = (!prompt.question.takes_key()).then_some((0, width(question) + column));
            return Self { lines: vec![cut(&format!("{question}{line}"), columns)], place, is_hint: false };
        }
        let hint = |text: String| Self { lines: vec![cut(&text, columns)], place: None, is_hint: true };
        let Some(conversation) = app.conversation() else { return hint("n asks somebody to talk".to_owned()) };
        let is_written = app.focus == Focus::Input && app.view == View::Talk;
        if !is_written && conversation.draft.text().is_empty() {
            return hint(format!("i writes to {}", conversation.name));
        }
        let (lines, (row, column)) = typed(conversation.draft.text(), conversation.draft.at(), columns);
        let from = (row + 1).saturating_sub(most);
        let lines = lines.into_iter().skip(from).take(most).collect();
        Self { lines, place: is_written.then_some((row - from, column)), is_hint: !is_written }
    }
}

fn status_line(app: &App, palette: Palette, columns: usize) -> Line<'static> {
    if let Some(notice) = &app.notice {
        return Line::styled(cut(&notice.text, columns), palette.warning());
    }
    if let Some(reason) = &app.lost {
        return Line::styled(cut(&format!("no daemon: {reason}; trying again"), columns), palette.warning());
    }
    let mode = match (&app.prompt, &app.view, app.focus) {
        (Some(_), ..) => "ASK",
        (None, View::Talk, Focus::List) => "LIST",
        (None, View::Talk, Focus::Messages) => "READ",
        (None, View::Talk, Focus::Input) => "WRITE",
        (None, ..) => "SHOW",
    };
    let network = match (app.network.state.as_str(), &app.network.reason) {
        ("connected", _) => format!("connected: {} nodes", app.network.members),
        ("interrupted", Some(reason)) => format!("interrupted: {reason}"),
        ("", _) => "connecting".to_owned(),
        (state, _) => state.to_owned(),
    };
    let path =
        if app.hops.is_empty() { String::new() } else { format!(" · you → {} → swarm", app.hops.join(" → ")) };
    let step = app.step.as_ref().map_or_else(String::new, |step| format!(" · {step}"));
    let rest = cut(&format!(" {network}{step}{path}"), columns.saturating_sub(mode.len()));
    Line::from(vec![Span::styled(mode, palette.strong()), Span::raw(rest)])
}

#[cfg(test)]
mod tests;
