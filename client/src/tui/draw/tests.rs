use crossterm::event::KeyCode;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;
use crate::rpc_client::Call;
use crate::rpc_client::fake::{account, came, id, message, request, with};
use crate::tui::app::Input as In;
use crate::tui::tests::Desk;

fn drawn(app: &App, (columns, rows): (u16, u16), color: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, app, Palette { color })).unwrap();
    terminal
}

/// What is seen, without the blanks at the ends of lines.
fn screen(app: &App, size: (u16, u16)) -> String {
    let terminal = drawn(app, size, false);
    let buffer = terminal.backend().buffer();
    let rows = (0..size.1).map(|y| {
        let mut row = String::new();
        let mut x = 0;
        while x < size.0 {
            let symbol = buffer[(x, y)].symbol();
            row.push_str(symbol);
            x += u16::try_from(width(symbol).max(1)).unwrap();
        }
        row.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// A conversation with everything in it.
fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.input(In::Told(json!({"v": 1, "type": "network", "state": "connected", "members": 3})));
    desk.input(In::Told(json!({"v": 1, "type": "send.progress", "phase": "path", "hops": ["07", "31", "44"]})));
    desk.page(1, vec![
        message(1, 1, false, "grüße 👋 李雷 \u{202e}evil\u{1b}[2J"),
        with(message(1, 2, true, "the quick brown fox jumps over the lazy dog and does not come back"),
             json!({"edited": true, "state": "read", "reply_to": id(1).to_string()})),
        with(message(1, 5, false, "later"), json!({"missing_before": 2,
             "reactions": [{"by": account(9).to_string(), "emoji": "👍"}, {"by": account(1).to_string(), "emoji": "❤"}]})),
        with(message(1, 6, true, "on its way"), json!({"state": "stored", "stored": 2})),
        with(message(1, 7, true, ""), json!({"deleted": true, "state": "queued"})),
    ]);
    desk.input(In::Told(came(2, 30, "are you there?")));
    desk
}

#[test]
fn a_terminal_of_eighty_by_twenty_four_shows_list_messages_input_and_state() {
    let mut desk = desk();
    desk.key(KeyCode::Enter);
    desk.text("an answer");
    assert_eq!(screen(&desk.app, (80, 24)), EIGHTY);
}

#[test]
fn a_narrow_terminal_shows_the_list_or_the_messages() {
    let mut desk = desk();
    assert_eq!(screen(&desk.app, (60, 10)), NARROW_LIST);
    desk.key(KeyCode::Char('l'));
    desk.key(KeyCode::Char('k'));
    assert_eq!(screen(&desk.app, (60, 20)), NARROW);
}

#[test]
fn help_fits_into_eighty_by_twenty_four_and_scrolls_where_it_does_not() {
    let mut desk = desk();
    desk.key(KeyCode::Char('?'));
    let shown = screen(&desk.app, (80, 24));
    assert!(shown.contains("everywhere but where you write") && shown.contains("Ctrl-L"), "{shown}");
    for _ in 0..100 {
        desk.key(KeyCode::Char('j'));
    }
    let shown = screen(&desk.app, (60, 20));
    assert!(shown.contains("Ctrl-A Ctrl-E"), "{shown}");
}

#[test]
fn requests_numbers_and_finds_are_shown_with_their_keys() {
    let mut desk = desk();
    desk.key(KeyCode::Char('R'));
    desk.answer(&Call::Requests, vec![request(7, "Dora\u{1b}", "from the\nworkshop")]);
    let shown = screen(&desk.app, (100, 12));
    assert!(shown.contains("> Dora\u{fffd}") && shown.contains("    from the workshop"), "{shown}");
    assert!(shown.contains("a accept  d decline"), "{shown}");
    desk.key(KeyCode::Esc);
    desk.key(KeyCode::Char('v'));
    let number = json!({"v": 1, "type": "safety_number", "account": account(1).to_string(), "name": "bob",
                        "digits": "12345".repeat(12), "verified": false});
    desk.answer(&Call::SafetyNumber { account: account(1) }, vec![number]);
    let shown = screen(&desk.app, (80, 24));
    assert_eq!(shown.matches("12345 12345 12345 12345 12345 12345").count(), 2, "{shown}");
    assert!(shown.contains("press c"), "{shown}");
    let account = account(1);
    desk.key(KeyCode::Char('m'));
    desk.text("Where?");
    desk.key(KeyCode::Enter);
    let shown = screen(&desk.app, (80, 24));
    assert!(shown.contains("The answer (they do not see it):"), "{shown}");
    desk.text("Lisbon");
    desk.key(KeyCode::Enter);
    desk.key(KeyCode::Char('a'));
    desk.key(KeyCode::Enter);
    let (question, answer) = ("Where?".to_owned(), "Lisbon".to_owned());
    assert!(desk.calls.contains(&Call::Question { account, question, answer }), "{:?}", desk.calls);
    assert!(desk.calls.contains(&Call::Answer { account, answer: String::new() }), "{:?}", desk.calls);
}

#[test]
fn nothing_is_told_by_colour_alone_and_without_it_there_is_none() {
    let mut desk = desk();
    desk.key(KeyCode::Enter);
    let plain = drawn(&desk.app, (80, 24), false);
    let cells = plain.backend().buffer().content();
    assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let colored = drawn(&desk.app, (80, 24), true);
    assert!(colored.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset));
    let symbols = |terminal: &Terminal<TestBackend>| {
        terminal.backend().buffer().content().iter().map(|cell| cell.symbol().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(symbols(&plain), symbols(&colored));
}

#[test]
fn any_size_is_drawn_and_the_cursor_is_inside() {
    let mut desk = desk();
    desk.key(KeyCode::Enter);
    desk.text("李雷 typed a line that is too long for a narrow terminal, and goes on and on and on");
    for focus in [Focus::List, Focus::Messages, Focus::Input] {
        desk.app.focus = focus;
        for size in [(1, 1), (5, 3), (20, 6), (21, 7), (69, 8), (70, 7), (71, 50), (300, 100)] {
            let mut terminal = drawn(&desk.app, size, true);
            let place = ratatui::backend::Backend::get_cursor_position(terminal.backend_mut()).unwrap();
            assert!(place.x < size.0 && place.y < size.1, "{size:?} {place:?}");
        }
    }
}

const EIGHTY: &str = "\
Sotto  alice (0509090909)                                  1 unread (u) · ? help
  carol              (1)│ bob  ✓ verified
  are you there?        │ ── 2026-11-27 (UTC) ──
> bob ✓                 │  10:01 bob
  you: [deleted]        │   grüße 👋 李雷 \u{fffd}evil\u{fffd}[2J
                        │  10:02 you  edited · read
                        │   ↳ grüße 👋 李雷 \u{fffd}evil\u{fffd}[2J
                        │   the quick brown fox jumps over the lazy dog and does
                        │   not come back
                        │ … 2 messages missing …
                        │  10:05 bob
                        │   later
                        │   👍 you  ❤ bob
                        │  10:06 you  stored 2/3
                        │   on its way
                        │  10:07 you  queued
                        │   [deleted]
                        │
                        │
                        │
                        │
────────────────────────────────────────────────────────────────────────────────
an answer
WRITE connected: 3 nodes · you → 07 → 31 → 44 → swarm";
const NARROW_LIST: &str = "\
Sotto  alice (0509090909)              1 unread (u) · ? help
  carol                                                  (1)
  are you there?
> bob ✓
  you: [deleted]


────────────────────────────────────────────────────────────
i writes to bob
LIST connected: 3 nodes · you → 07 → 31 → 44 → swarm";
const NARROW: &str = "\
Sotto  alice (0509090909)              1 unread (u) · ? help
bob  ✓ verified
── 2026-11-27 (UTC) ──
 10:01 bob
  grüße 👋 李雷 \u{fffd}evil\u{fffd}[2J
 10:02 you  edited · read
  ↳ grüße 👋 李雷 \u{fffd}evil\u{fffd}[2J
  the quick brown fox jumps over the lazy dog and does not
  come back
… 2 messages missing …
 10:05 bob
  later
  👍 you  ❤ bob
 10:06 you  stored 2/3
  on its way
>10:07 you  queued
  [deleted]
────────────────────────────────────────────────────────────
i writes to bob
READ connected: 3 nodes · you → 07 → 31 → 44 → swarm";
