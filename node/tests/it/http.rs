//! Hostile inputs to the HTTP port: all bounded, others served meanwhile.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use sotto_node::http::serve::{ServeLimits, serve};
use sotto_node::http::{Control, Question, router};
use sotto_node::metrics::Page;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::operators::{drain, peers, store, survey, swarm};
use crate::status::healthy;

/// Short limits, so that a test sees them.
pub(crate) const LIMITS: ServeLimits = ServeLimits {
    connections: 4,
    head: Duration::from_millis(200),
    life: Duration::from_millis(600),
    buffer: 16 << 10,
};

/// Answers questions as an event loop would.
pub(crate) fn answering() -> Control {
    let (control, mut questions) = Control::channel();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            match question {
                Question::Status(reply) => drop(reply.send(healthy())),
                Question::Swarm(reply) => drop(reply.send(swarm())),
                Question::Peers(reply) => drop(reply.send(peers())),
                Question::Store(reply) => drop(reply.send(store())),
                Question::Drain(reply) => drop(reply.send(drain())),
                Question::Survey(_, reply) => drop(reply.send(Ok(survey()))),
                Question::Account(_, reply) => drop(reply.send(Some(sotto_proto::chain::Account::default()))),
                Question::Command(_, reply) => drop(reply.send(Ok(()))),
                Question::Shutdown => {}
            }
        }
    });
    control
}

async fn server() -> (std::net::SocketAddr, CancellationToken) {
    let handle = PrometheusBuilder::new().build_recorder().handle();
    let page = Page::new(handle, sotto_behaviours::network::Registry::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, router(answering(), page), LIMITS, shutdown.clone()));
    (address, shutdown)
}

/// Sends `bytes`, reads to the end: what came.
async fn exchange(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await; // the other side may close before all is sent
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

fn get(target: &str, host: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn everything_that_should_be_served_is() {
    let (address, _shutdown) = server().await;
    let host = address.to_string();
    assert!(exchange(address, &get("/healthz", &host)).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(address, &get("/readyz", "localhost")).await.contains("\"ready\":true"));
    assert!(exchange(address, &get("/status", "[::1]:80")).await.contains("\"type\":\"node.status\""));
    assert!(exchange(address, &get("/metrics", &host)).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(address, &get("/nothing", &host)).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn what_changes_something_is_not_on_the_port() {
    let (address, _shutdown) = server().await;
    for target in ["/swarm", "/peers", "/store"] {
        let answer = exchange(address, &get(target, "localhost")).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{target} is for whoever may enter the socket");
    }
    for target in ["/shutdown", "/tx", "/keys/rotate"] {
        let request =
            format!("POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        assert!(exchange(address, request.as_bytes()).await.starts_with("HTTP/1.1 404"), "{target}");
    }
}

#[tokio::test]
async fn a_web_page_under_another_name_reads_nothing() {
    let (address, _shutdown) = server().await;
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "a b"] {
        let answer = exchange(address, &get("/status", host)).await;
        assert!(!answer.contains("node.status"), "{host}: {answer}");
    }
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let (address, _shutdown) = server().await;
    let mut request = b"GET /status HTTP/1.1\r\nhost: localhost\r\n".to_vec();
    for number in 0..20_000 {
        request.extend_from_slice(format!("x-{number}: {number}\r\n").as_bytes());
    }
    let answer = exchange(address, &request).await;
    assert!(!answer.contains("node.status"), "{answer}");
}

#[tokio::test]
async fn nonsense_is_answered_or_dropped_and_harms_nobody() {
    let (address, _shutdown) = server().await;
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\r\n\r\n\r\n", &[0xff; 4096], b"GET"] {
        exchange(address, bytes).await;
    }
    assert!(exchange(address, &get("/healthz", "localhost")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn slow_heads_are_dropped_and_others_served_meanwhile() {
    let (address, _shutdown) = server().await;
    let start = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..LIMITS.connections - 1 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /status HT").await.unwrap();
        slow.push(stream);
    }
    assert!(exchange(address, &get("/healthz", "localhost")).await.starts_with("HTTP/1.1 200"));
    for mut stream in slow {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await; // an error or a close, either is an end
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_room_comes_back() {
    let (address, _shutdown) = server().await;
    let mut open = Vec::new();
    for _ in 0..LIMITS.connections {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"G").await.unwrap();
        open.push(stream);
    }
    let mut refused = false;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        let answer = exchange(address, &get("/healthz", "localhost")).await;
        refused |= answer.is_empty();
        if answer.starts_with("HTTP/1.1 200") {
            break;
        }
    }
    assert!(refused, "the limit never showed");
    assert!(start.elapsed() < Duration::from_secs(5), "room never came back");
}

#[tokio::test]
async fn a_connection_kept_busy_ends_with_its_life() {
    let (address, _shutdown) = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    while stream.write_all(request).await.is_ok() && stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    assert!(start.elapsed() >= LIMITS.life / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_loop_that_does_not_answer_is_503_not_a_hang() {
    let (control, questions) = Control::channel();
    drop(questions);
    assert!(control.ask(Question::Status).await.is_err());
}
