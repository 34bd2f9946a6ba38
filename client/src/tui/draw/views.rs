//! What is shown in place of the messages, in lines.

use ratatui::style::Style;
use ratatui::text::Line;

use super::Palette;
use crate::rpc_client::{Message, OnionPath, SafetyNumber};
use crate::tui::app::App;
use crate::tui::conversation::{body, words};
use crate::tui::keys::HELP;
use crate::tui::measure::{cut, wrap};
use crate::tui::views::View;

/// What is shown, with the keys that mean something there.
pub(super) fn title(app: &App) -> String {
    match &app.view {
        View::Talk => app.conversation().map_or_else(String::new, |conversation| {
            let state = match (conversation.state.as_deref(), conversation.is_verified) {
                (Some("asked"), _) => "asked, no answer yet",
                (Some("blocked"), _) => "blocked",
                (Some(_), true) => "✓ verified",
                (Some(_), false) => "not verified (v)",
                (None, _) => "no contact: without a session",
            };
            format!("{}  {state}", conversation.name)
        }),
        View::Help { .. } => "Keys   Esc back".to_owned(),
        View::Requests { .. } => "Who asks to talk   a accept  d decline  b block  Esc back".to_owned(),
        View::Number(_) => "Safety number   m ask  a answer  Esc back".to_owned(),
        View::Path(_) => "The path of what is sent   Esc back".to_owned(),
        View::Found { text, hits, .. } => format!("{} with “{text}”   Enter goes there  Esc back", hits.len()),
        View::Whole { .. } => "A message   j k move  Esc back".to_owned(),
    }
}

/// It, in at most so many rows.
pub(super) fn lines(app: &App, view: &View, (columns, rows): (usize, usize), palette: Palette) -> Vec<Line<'static>> {
    match view {
        View::Talk => Vec::new(),
        View::Help { from } => scrolled(help(columns, palette), *from, rows),
        View::Requests { at } => requests(app, *at, (columns, rows), palette),
        View::Number(number) => safety_number(app, number, columns, palette),
        View::Path(path) => path_lines(path, columns),
        View::Found { hits, at, .. } => found(app, hits, *at, (columns, rows), palette),
        View::Whole { message, from } => scrolled(whole(app, message, columns), *from, rows),
    }
}

/// From a line on, as long as there is something to fill the room.
fn scrolled(lines: Vec<Line<'static>>, from: usize, rows: usize) -> Vec<Line<'static>> {
    let from = from.min(lines.len().saturating_sub(rows));
    lines.into_iter().skip(from).take(rows).collect()
}

fn help(columns: usize, palette: Palette) -> Vec<Line<'static>> {
    let lines = HELP.iter().flat_map(|(keys, what)| {
        if keys.is_empty() {
            return vec![Line::styled((*what).to_owned(), palette.strong())];
        }
        let texts = wrap(what, columns.saturating_sub(20)).into_iter().enumerate();
        texts.map(|(row, text)| Line::raw(format!("  {:<16}  {text}", if row == 0 { keys } else { "" }))).collect()
    });
    lines.collect()
}

/// Two lines for each of several, of which one is chosen and shown.
fn pairs(pairs: Vec<[String; 2]>, at: usize, (columns, rows): (usize, usize), palette: Palette) -> Vec<Line<'static>> {
    let fit = (rows / 2).max(1);
    let from = at.saturating_sub(fit - 1);
    let lines = pairs.into_iter().enumerate().skip(from).take(fit).flat_map(|(index, [first, second])| {
        let (mark, style) = if index == at { ('>', palette.chosen()) } else { (' ', Style::new()) };
        [
            Line::styled(cut(&format!("{mark} {first}"), columns), style),
            Line::styled(cut(&format!("    {second}"), columns), palette.dim()),
        ]
    });
    lines.collect()
}

fn requests(app: &App, at: usize, room: (usize, usize), palette: Palette) -> Vec<Line<'static>> {
    if app.requests.is_empty() {
        return vec![Line::styled("nobody asks at the moment", palette.dim())];
    }
    let lines = app.requests.iter().map(|request| {
        let name = if request.name.is_empty() { "somebody without a name" } else { &request.name };
        let introduction = if request.introduction.is_empty() { "no words" } else { &request.introduction };
        [format!("{name}  {}", request.account), introduction.to_owned()]
    });
    pairs(lines.collect(), at, room, palette)
}

fn found(app: &App, hits: &[Message], at: usize, room: (usize, usize), palette: Palette) -> Vec<Line<'static>> {
    let lines = hits.iter().map(|hit| {
        let (day, time) = (hit.sent.get(..10).unwrap_or_default(), hit.sent.get(11..16).unwrap_or_default());
        [format!("{}  {day} {time}", app.called(&hit.conversation)), words(hit)]
    });
    pairs(lines.collect(), at, room, palette)
}

fn safety_number(app: &App, number: &SafetyNumber, columns: usize, palette: Palette) -> Vec<Line<'static>> {
    let [first, second] = number.lines();
    let name = app.called(&number.account);
    let next = if number.verified {
        format!("{name} is verified.")
    } else {
        format!(
            "{name} must see the same. Compare by voice or face to face, then press c. Or ask what only \
             you two know: m; a answers what {name} has asked."
        )
    };
    let mut lines = vec![Line::raw(""), Line::styled(format!("  {first}"), palette.strong())];
    lines.extend([Line::styled(format!("  {second}"), palette.strong()), Line::raw("")]);
    lines.extend(wrap(&next, columns).into_iter().map(Line::raw));
    lines
}

fn path_lines(path: &OnionPath, columns: usize) -> Vec<Line<'static>> {
    let knows =
        ["guard    your address, not what you do", "middle   only its neighbours", "exit     the destination, not you"];
    let mut lines = vec![Line::raw("  you")];
    for (hop, knows) in path.hops.iter().zip(knows) {
        let region = hop.region.as_deref().map_or_else(String::new, |region| format!("  ({region})"));
        lines.push(Line::raw(cut(&format!("   ↓  {}{region}", hop.node), columns)));
        lines.push(Line::raw(cut(&format!("      {knows}"), columns)));
    }
    lines.push(Line::raw("   ↓  swarm"));
    lines
}

fn whole(app: &App, message: &Message, columns: usize) -> Vec<Line<'static>> {
    let who = if message.outgoing { "you".to_owned() } else { app.called(&message.conversation) };
    let about = [
        format!("from     {who}"),
        format!("id       {}", message.id),
        format!("sent     {}", message.sent),
        format!("arrived  {}", message.arrived),
    ];
    let until = message.expires_at.as_ref().map(|until| format!("until    {until}"));
    let about = about.into_iter().chain(until).map(|line| Line::raw(cut(&line, columns)));
    let texts = wrap(&body(message), columns).into_iter().map(Line::raw);
    about.chain([Line::raw("")]).chain(texts).collect()
}
