//! A daemon for a program of this process: the one that runs, else one of its own.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::super::CliError;
use super::super::context::Context;
use super::link::Link;
use super::{Daemon, server, socket, socket_path, verbs};

/// A stream to a daemon. One of its own ends with it.
#[derive(Debug)]
pub(in super::super) struct Attached {
    stream: UnixStream,
    own: Option<(Runtime, Arc<Daemon>)>,
}

impl Attached {
    /// Connects with the daemon that has the account, or opens the account here.
    pub(in super::super) fn open(context: &Context) -> Result<Self, CliError> {
        if let Ok(stream) = socket::connect(&socket_path(&verbs::folder(context)?)) {
            return Ok(Self { stream, own: None });
        }
        let failed = |error: io::Error| CliError::io("make", "a stream", &error);
        let (stream, served) = UnixStream::pair().map_err(failed)?;
        let runtime = verbs::runtime()?;
        let daemon = {
            let _entered = runtime.enter();
            let daemon = verbs::open(context)?;
            served.set_nonblocking(true).map_err(failed)?;
            let served = tokio::net::UnixStream::from_std(served).map_err(failed)?;
            tokio::spawn(server::serve(Arc::clone(&daemon), served));
            daemon
        };
        Ok(Self { stream, own: Some((runtime, daemon)) })
    }

    /// Whether the daemon is one of its own.
    pub(in super::super) const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Another handle of the stream.
    pub(in super::super) fn stream(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// Calls over it.
    pub(in super::super) fn link(&self) -> Result<Link, CliError> {
        let link = self.stream().and_then(Link::over);
        link.map_err(|error| CliError::io("use", "the stream", &error))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some((runtime, daemon)) = self.own.take() {
            daemon.lock();
            runtime.shutdown_background();
        }
    }
}
