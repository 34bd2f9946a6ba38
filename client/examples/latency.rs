//! How long a message takes from one daemon's request to the other one's event.
//!
//! ```sh
//! sotto --account alice daemon start && sotto --account bob daemon start     # two contacts
//! cargo run --release --example latency -- ALICE_SOCKET bob BOB_SOCKET 200 online
//! ```
//!
//! `sotto daemon start --json` names the socket; the last word is the mode, as of `sotto send`. A line of JSON: milliseconds from writing the request to reading the event
//! (`event`), and to the answer, which comes when the message is stored or acknowledged (`answer`).

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than anything that is not broken.
const PATIENCE: Duration = Duration::from_secs(30);

struct Daemon {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Daemon {
    fn connect(socket: &str) -> Result<Self, Box<dyn Error>> {
        let writer = UnixStream::connect(socket)?;
        writer.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(writer.try_clone()?), writer })
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<(), Box<dyn Error>> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        Ok(writeln!(self.writer, "{request}")?)
    }

    /// The first message of the kind that is looked for.
    fn find<T>(&mut self, wanted: impl Fn(&Value) -> Option<T>) -> Result<T, Box<dyn Error>> {
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err("the daemon has gone away".into());
            }
            let message: Value = serde_json::from_str(&line)?;
            if let Some(error) = message.get("error") {
                return Err(error.to_string().into());
            }
            if let Some(found) = wanted(&message) {
                return Ok(found);
            }
        }
    }

    fn answer(&mut self) -> Result<Value, Box<dyn Error>> {
        self.find(|message| message.get("result").cloned())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, name, to, count, mode] = arguments.as_slice() else {
        return Err("latency SENDERS_SOCKET CONTACT RECEIVERS_SOCKET COUNT auto|online|offline".into());
    };
    let (mut sender, mut receiver) = (Daemon::connect(from)?, Daemon::connect(to)?);
    receiver.ask("events.subscribe", &json!({"after": null}))?;
    let cursor = receiver.answer()?;
    // What waits from earlier is not measured.
    receiver.ask("events.subscribe", &json!({"after": cursor.get("cursor")}))?;
    receiver.answer()?;
    let (mut events, mut answers, mut modes) = (Vec::new(), Vec::new(), std::collections::BTreeMap::new());
    let run = std::process::id();
    for number in 0..count.parse::<usize>()? {
        // Nobody has said that before.
        let text = format!("latency {run} {number}");
        let begun = Instant::now();
        sender.ask("send", &json!({"recipients": [name], "message": text, "mode": mode}))?;
        receiver.find(|message| {
            (message.pointer("/params/data/body").and_then(Value::as_str) == Some(text.as_str())).then_some(())
        })?;
        events.push(begun.elapsed());
        let answer = sender.answer()?;
        answers.push(begun.elapsed());
        let went = answer.pointer("/0/mode").and_then(Value::as_str).unwrap_or("?").to_owned();
        *modes.entry(went).or_insert(0_usize) += 1;
        std::thread::sleep(PAUSE);
    }
    println!("{}", json!({"count": events.len(), "mode": modes, "event": figures(events), "answer": figures(answers)}));
    Ok(())
}

fn figures(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |part: usize| {
        let place = (times.len() * part / 100).min(times.len().saturating_sub(1));
        times.get(place).map(|time| (time.as_secs_f64() * 1e5).round() / 100.0)
    };
    json!({"p50_ms": at(50), "p90_ms": at(90), "p99_ms": at(99), "max_ms": at(100)})
}
