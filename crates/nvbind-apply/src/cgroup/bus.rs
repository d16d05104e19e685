//! A connection to the system bus for a few method calls, one at a time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::wire::{Kind, Message, Method, PREFIX, Reader, Writer, rest};

/// The address that the D-Bus specification gives the system bus; the environment's is not asked.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Longer than a busy systemd takes, shorter than a hook may.
const PATIENCE: Duration = Duration::from_secs(5);

/// Far more than any reply asked for here.
const LARGEST_MESSAGE: usize = 1 << 20;

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus is not there, or was silent for too long.
    #[error("cannot talk to the system bus at {SYSTEM_BUS}")]
    Connection(#[source] io::Error),
    /// What came is not D-Bus as specified.
    #[error("the system bus at {SYSTEM_BUS} sent something that is not a D-Bus message")]
    Malformed,
    /// The peer answered with an error.
    #[error("{method} was refused: {name}: {message}")]
    Refused {
        /// The method called.
        method: String,
        /// The error's D-Bus name.
        name: String,
        /// The peer's words.
        message: String,
    },
}

/// An authenticated connection that has a name on the bus.
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    until: Instant,
}

impl Bus {
    /// Connects to the system bus.
    pub(super) fn system() -> Result<Self, Error> {
        let stream = UnixStream::connect(Path::new(SYSTEM_BUS)).map_err(Error::Connection)?;
        let mut bus = Self { stream, serial: 0, until: Instant::now() + PATIENCE };
        bus.authenticate()?;
        let hello = Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            name: "Hello",
            signature: "",
        };
        bus.call(&hello, &Writer::default())?;
        Ok(bus)
    }

    /// Calls a method and returns the body of its reply.
    pub(super) fn call(&mut self, method: &Method<'_>, arguments: &Writer) -> Result<Vec<u8>, Error> {
        self.serial += 1;
        self.send(&method.call(self.serial, arguments))?;
        loop {
            let message = self.receive()?;
            if message.reply_to != Some(self.serial) {
                continue;
            }
            return match message.kind {
                Kind::Reply => Ok(message.body),
                Kind::Error => Err(Error::Refused {
                    method: method.name.to_owned(),
                    name: message.error_name.unwrap_or_default(),
                    message: Reader::new(&message.body).string().unwrap_or_default().to_owned(),
                }),
                Kind::Other => Err(Error::Malformed),
            };
        }
    }

    /// SASL EXTERNAL (D-Bus specification, "Authentication Protocol"): the kernel tells the bus who we are.
    fn authenticate(&mut self) -> Result<(), Error> {
        let uid: String =
            nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            self.fill(&mut byte)?;
            answer.extend(byte);
            if answer.len() > 512 {
                return Err(Error::Malformed);
            }
        }
        if !answer.starts_with(b"OK ") {
            return Err(Error::Connection(io::ErrorKind::PermissionDenied.into()));
        }
        self.send(b"BEGIN\r\n")
    }

    fn receive(&mut self) -> Result<Message, Error> {
        let mut prefix = [0; PREFIX];
        self.fill(&mut prefix)?;
        let rest = rest(&prefix).filter(|rest| *rest <= LARGEST_MESSAGE).ok_or(Error::Malformed)?;
        let mut body = vec![0; rest];
        self.fill(&mut body)?;
        Message::parse(&[&prefix, body.as_slice()].concat()).ok_or(Error::Malformed)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let left = self.left()?;
        let sent = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write_all(bytes));
        sent.map_err(Error::Connection)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        let left = self.left()?;
        let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read_exact(bytes));
        read.map_err(Error::Connection)
    }

    /// The time that is left for everything asked of this connection.
    fn left(&self) -> Result<Duration, Error> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Error::Connection(io::ErrorKind::TimedOut.into())) } else { Ok(left) }
    }
}
