//! The daemon, and those who use it: commands, a bot in Python, a hook, HTTP, a command that answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::conversations::{lines, recv, run};
use super::steps::{sotto, user};
use crate::harness::{Figure, nothing};
use crate::testnet::{Testnet, eventually, programs, repository};

const SOON: Duration = Duration::from_secs(20);

/// A process that is ended when this is dropped.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a daemon said when it started. It is killed when this is dropped, so that none outlives a test that fails.
pub(super) struct Daemon(Value);

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(number) = self.0["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()) else { return };
        let _ = rustix::process::Pid::from_raw(number)
            .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        // Until it has ended its socket still takes connections.
        let began = Instant::now();
        while runs(number) && began.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Whether there is such a process, and more of it than what its parent has not asked for yet.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

/// Two users that are contacts of each other, by these names.
pub(super) fn contacts(testnet: &Testnet, one: &str, other: &str) {
    user(testnet, one);
    let id = user(testnet, other);
    run(testnet, one, &["request", "send", &id, "--as", other]).ok();
    recv(testnet, other);
    run(testnet, other, &["request", "accept", one]).ok();
    recv(testnet, one);
    recv(testnet, other);
}

fn bodies(came: Vec<(String, Value)>) -> Vec<String> {
    came.into_iter().filter_map(|(_, line)| line["data"]["body"].as_str().map(str::to_owned)).collect()
}

pub(super) fn start(testnet: &Testnet, name: &str, options: &[&str]) -> Daemon {
    let daemon = Daemon(lines(testnet, name, &[&["daemon", "start"], options].concat()).remove(0));
    eventually("the daemon is connected", SOON, || {
        let status = lines(testnet, name, &["daemon", "status"]);
        status[0]["connection"]["state"] == "connected"
    });
    daemon
}

/// Whatever is typed while the daemon has the account is done by the daemon.
pub(super) fn serves(testnet: &Testnet) -> Figure {
    contacts(testnet, "dora", "emil");
    let _daemon = start(testnet, "dora", &[]);
    run(testnet, "dora", &["daemon", "start"]).failed_with(10);
    run(testnet, "dora", &["account", "delete", "--yes"]).failed_with(12);
    // Somebody who follows has it at once, while others use the account.
    let mut follow = sotto(testnet, "dora");
    follow.args(["recv", "--follow", "--max", "1", "--json"]).stdout(Stdio::piped());
    let follower = Running::start(follow);
    run(testnet, "dora", &["send", "emil", "-m", "one"]).ok();
    let mut piped = sotto(testnet, "dora");
    piped.args(["send", "emil", "-m", "-"]).stdin(Stdio::piped());
    let mut piped = piped.spawn().unwrap();
    piped.stdin.take().unwrap().write_all(b"two\n").unwrap();
    assert!(piped.wait().unwrap().success());
    assert_eq!(bodies(recv(testnet, "emil")), ["one", "two"]);
    run(testnet, "emil", &["send", "dora", "-m", "three"]).ok();
    let mut follower = follower;
    let mut told = String::new();
    follower.0.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["data"]["body"], "three");
    assert!(recv(testnet, "dora").is_empty(), "what the follower has shown is not shown again");
    let history = lines(testnet, "dora", &["history", "emil"]);
    let said: Vec<_> = history.iter().filter_map(|line| line["body"].as_str()).collect();
    assert_eq!(said, ["one", "two", "three"]);
    let refused = run(testnet, "dora", &["send", "nobody", "-m", "x"]).failed_with(7);
    assert!(refused.contains("nobody"), "{refused}");
    run(testnet, "dora", &["lock"]).ok();
    run(testnet, "dora", &["send", "emil", "-m", "x"]).failed_with(6);
    run(testnet, "dora", &["unlock"]).ok();
    run(testnet, "dora", &["send", "emil", "-m", "four"]).ok();
    assert_eq!(bodies(recv(testnet, "emil")), ["four"]);
    run(testnet, "dora", &["daemon", "stop"]).ok();
    run(testnet, "dora", &["daemon", "status"]).failed_with(7);
    run(testnet, "dora", &["send", "emil", "-m", "five"]).ok();
    assert_eq!(bodies(recv(testnet, "emil")), ["five"]);
    nothing()
}

/// Whoever wants that is seen to be online by all who know the account's id, and by nobody once he does not.
pub(super) fn presence(testnet: &Testnet) -> Figure {
    contacts(testnet, "karl", "lola");
    user(testnet, "mara");
    let id = lines(testnet, "karl", &["account", "show"])[0]["id"].as_str().unwrap().to_owned();
    let _daemon = start(testnet, "karl", &[]);
    let is_seen = |by: &str| lines(testnet, by, &["contact", "presence", &id])[0]["online"] == true;
    assert!(!is_seen("mara") && !is_seen("lola"), "off unless he wants it");
    run(testnet, "karl", &["account", "set", "--presence", "on"]).ok();
    eventually("a stranger sees it", SOON, || is_seen("mara"));
    // A contact that was told no place finds it.
    run(testnet, "lola", &["send", "karl", "-m", "found", "--mode", "online"]).ok();
    assert_eq!(bodies(recv(testnet, "karl")), ["found"]);
    run(testnet, "karl", &["account", "set", "--presence", "off"]).ok();
    eventually("nobody sees it", SOON, || !is_seen("mara"));
    nothing()
}

/// A daemon that is killed loses nothing and doubles nothing.
pub(super) fn killed(testnet: &Testnet) -> Figure {
    const MESSAGES: usize = 12;
    contacts(testnet, "fred", "gina");
    let mut expected = Vec::new();
    for number in 0..MESSAGES {
        let daemon = start(testnet, "fred", &[]);
        run(testnet, "gina", &["send", "fred", "-m", &format!("to {number}")]).ok();
        let mut send = sotto(testnet, "fred");
        send.args(["send", "gina", "-m", &format!("from {number}"), "--quiet"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut sending = send.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(7 * number as u64));
        drop(daemon);
        sending.wait().unwrap();
        expected.push(format!("to {number}"));
    }
    let _daemon = start(testnet, "fred", &[]);
    let mut shown = Vec::new();
    eventually("everything has come", SOON, || {
        shown.extend(bodies(recv(testnet, "fred")));
        shown.len() >= MESSAGES
    });
    // One that a member had not got yet is read after the next; the history has them in order.
    shown.sort_by_key(|body| expected.iter().position(|said| said == body));
    assert_eq!(shown, expected, "each once");
    let history = lines(testnet, "fred", &["history", "gina"]).into_iter().filter(|line| line["outgoing"] == false);
    let heard: Vec<_> = history.filter_map(|line| line["body"].as_str().map(str::to_owned)).collect();
    assert_eq!(heard, expected, "in order");
    // Of what was being queued when the daemon died, each is there once or was never taken.
    eventually("nothing waits", SOON, || lines(testnet, "fred", &["status", "--offline"])[0]["waiting"] == 0);
    let mut came = bodies(recv(testnet, "gina"));
    let queued = lines(testnet, "fred", &["history", "gina"]).into_iter().filter(|line| line["outgoing"] == true);
    let mut queued: Vec<String> = queued.filter_map(|line| line["body"].as_str().map(str::to_owned)).collect();
    // What was about to go straight when the daemon died goes to the mailbox after what followed it.
    came.sort();
    queued.sort();
    assert_eq!(came, queued);
    run(testnet, "fred", &["daemon", "stop"]).ok();
    Figure(format!("{MESSAGES} kills, {} of {MESSAGES} being sent were taken, each came once", queued.len()))
}

/// A bot in Python answers, through the daemon and without one.
pub(super) fn python(testnet: &Testnet) -> Figure {
    contacts(testnet, "hana", "echobot");
    for (with_daemon, word) in [(false, "alone"), (true, "served")] {
        let _daemon = with_daemon.then(|| start(testnet, "echobot", &[]));
        let options = sotto(testnet, "echobot");
        let mut bot = Command::new("python3");
        bot.arg(repository().join("client/python/sotto.py")).args(options.get_args());
        bot.env("PATH", format!("{}:{}", programs().display(), std::env::var("PATH").unwrap()));
        bot.env("PYTHONDONTWRITEBYTECODE", "1");
        let bot = Running::start(bot);
        run(testnet, "hana", &["send", "echobot", "-m", word]).ok();
        let mut came = Vec::new();
        eventually("the bot has answered", SOON, || {
            came.extend(bodies(recv(testnet, "hana")));
            !came.is_empty()
        });
        assert_eq!(came, [word]);
        drop(bot);
    }
    nothing()
}

/// Over HTTP with a token; a hook is told; a command answers.
pub(super) fn programs_of_others(testnet: &Testnet) -> Figure {
    contacts(testnet, "ines", "jona");
    let started = start(testnet, "jona", &["--http=127.0.0.1:0"]);
    let address = started.0["http"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let token = std::fs::read_to_string(started.0["token_file"].as_str().unwrap()).unwrap();
    let rpc = |token: &str, host: &str, body: &Value| {
        let (mut stream, body) = (TcpStream::connect(&address).unwrap(), body.to_string());
        let head = format!(
            "POST /api/v1/rpc HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "contact.list"});
    assert!(rpc(&token, &address, &call).contains("\"name\":\"ines\""));
    assert!(rpc("wrong", &address, &call).starts_with("HTTP/1.1 401"));
    assert!(rpc(&token, "evil.example", &call).starts_with("HTTP/1.1 403"));
    let sent =
        json!({"jsonrpc": "2.0", "id": 1, "method": "send", "params": {"recipients": ["ines"], "message": "by http"}});
    assert!(rpc(&token, &address, &sent).contains("\"state\":\"stored\""));
    assert_eq!(bodies(recv(testnet, "ines")), ["by http"]);

    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/in", hook.local_addr().unwrap());
    let secret = testnet.path().join("users/jona/hook-secret");
    std::fs::write(&secret, "sixteen bytes and more\n").unwrap();
    let secret = secret.to_str().unwrap();
    run(testnet, "jona", &["hook", "add", "http://example.com/", "--secret-file", secret]).failed_with(2);
    run(testnet, "jona", &["hook", "add", &url, "--secret-file", secret]).ok();
    run(testnet, "ines", &["send", "jona", "-m", "for the hook"]).ok();
    // Refused at first: it is posted again.
    let posts: Vec<String> = [500, 204].map(|status| answer(&hook, status)).into();
    for post in &posts {
        assert!(post.contains("\"body\":\"for the hook\"") && post.contains("sotto-signature: t="), "{post}");
    }
    run(testnet, "jona", &["hook", "remove", "hook"]).ok();

    recv(testnet, "jona");
    let mut listen = sotto(testnet, "jona");
    listen.args(["listen", "--json", "--max", "1", "--exec", "cat >/dev/null; echo heard"]);
    let mut listening = Running::start(listen);
    run(testnet, "ines", &["send", "jona", "-m", "anybody?"]).ok();
    assert!(listening.0.wait().unwrap().success());
    assert_eq!(bodies(recv(testnet, "ines")), ["heard"]);
    run(testnet, "jona", &["daemon", "stop"]).ok();
    nothing()
}

/// Takes a request and answers it.
fn answer(listener: &TcpListener, status: u16) -> String {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        let is_last = line == "\r\n";
        head.push_str(&line.to_lowercase());
        if is_last {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").unwrap();
    head + &String::from_utf8(body).unwrap()
}
