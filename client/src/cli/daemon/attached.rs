//! A daemon for a program of this process: the one that runs, else one of its own.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::super::CliError;
use super::super::context::Context;
use super::link::Link;
use super::{Daemon, server, socket, socket_path, verbs};

/// A daemon that can be connected with. One of its own ends with it.
#[derive(Debug)]
pub(in super::super) enum Attached {
    /// The one that listens there.
    Running(PathBuf),
    /// One in this process.
    Own(Option<(Runtime, Arc<Daemon>)>),
}

impl Attached {
    /// The daemon that has the account, or the account opened here.
    pub(in super::super) fn open(context: &Context) -> Result<Self, CliError> {
        let path = socket_path(&verbs::folder(context)?);
        if socket::connect(&path).is_ok() {
            return Ok(Self::Running(path));
        }
        let runtime = verbs::runtime()?;
        let daemon = {
            let _entered = runtime.enter();
            verbs::open(context)?
        };
        Ok(Self::Own(Some((runtime, daemon))))
    }

    /// The one that listens at a socket.
    pub(in super::super) const fn at(socket: PathBuf) -> Self {
        Self::Running(socket)
    }

    /// Whether the daemon is one of its own.
    pub(in super::super) const fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// A new stream to it.
    pub(in super::super) fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::Running(path) => socket::connect(path),
            Self::Own(None) => Err(io::ErrorKind::NotConnected.into()),
            Self::Own(Some((runtime, daemon))) => {
                let (stream, served) = UnixStream::pair()?;
                served.set_nonblocking(true)?;
                let _entered = runtime.enter();
                let served = tokio::net::UnixStream::from_std(served)?;
                runtime.spawn(server::serve(Arc::clone(daemon), served));
                Ok(stream)
            }
        }
    }

    /// Calls over a new stream.
    pub(in super::super) fn link(&self) -> Result<Link, CliError> {
        let link = self.connect().and_then(Link::over);
        link.map_err(|error| CliError::io("connect with", "the daemon", &error))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Self::Own(own) = self
            && let Some((runtime, daemon)) = own.take()
        {
            daemon.lock();
            runtime.shutdown_background();
        }
    }
}
