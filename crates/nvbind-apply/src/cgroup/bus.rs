//! A connection to the system bus for a few method calls, one at a time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::wire::{Kind, Message, Method, PREFIX, Reader, Writer, rest};

/// The address that the D-Bus specification gives the system bus; the environment's is not asked.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Longer than a busy systemd takes, shorter than a hook may.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Far more than any reply asked for here.
const LARGEST_MESSAGE: usize = 1 << 20;

/// Why a call was not answered.
#[expect(missing_docs, reason = "the messages name the fields")]
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
    Refused { method: String, name: String, message: String },
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
        Self::over(UnixStream::connect(SYSTEM_BUS).map_err(Error::Connection)?, TIMEOUT)
    }

    fn over(stream: UnixStream, patience: Duration) -> Result<Self, Error> {
        let mut bus = Self { stream, serial: 0, until: Instant::now() + patience };
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::thread::{self, JoinHandle};

    use super::*;

    const REPLY: u8 = 2;
    const ERROR: u8 = 3;
    const SIGNAL: u8 = 4;

    const METHOD: Method<'_> =
        Method { destination: "a.b", path: "/a", interface: "a.b", name: "Do", signature: "s" };

    fn message(kind: u8, reply_to: u32, body: &[u8]) -> Vec<u8> {
        let mut message = vec![b'l', kind, 0, 1];
        let mut fields = vec![5, 1, b'u', 0];
        fields.extend(reply_to.to_le_bytes());
        if kind == ERROR {
            fields.extend(b"\x04\x01s\x00\x05\x00\x00\x00a.b.C\x00");
        }
        for number in [body.len(), 9, fields.len()] {
            message.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        message.extend(fields);
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(body);
        message
    }

    /// A bus that accepts whoever comes, answers `Hello` and then says `rest`; gives back what it read before that.
    fn bus(answer: &'static str, rest: Vec<u8>) -> (UnixStream, JoinHandle<String>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let told = thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().unwrap());
            let mut text = String::new();
            lines.read_line(&mut text).unwrap();
            (&theirs).write_all(answer.as_bytes()).unwrap();
            let _ = lines.read_line(&mut text);
            (&theirs).write_all(&[message(REPLY, 1, b"\x04\0\0\0:1.2\0"), rest].concat()).unwrap();
            let _ = io::copy(&mut lines, &mut io::sink());
            text
        });
        (ours, told)
    }

    #[test]
    fn authenticates_as_its_user_and_reads_past_what_it_did_not_ask_for() {
        let rest = [message(SIGNAL, 0, b""), message(REPLY, 77, b"no"), message(REPLY, 2, b"yes")].concat();
        let (stream, told) = bus("OK 0123\r\n", rest);
        let mut bus = Bus::over(stream, TIMEOUT).unwrap();
        assert_eq!(bus.call(&METHOD, &Writer::default()).unwrap(), b"yes");
        drop(bus);
        let uid: String =
            nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:x}")).collect();
        assert_eq!(told.join().unwrap(), format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n"));
    }

    #[test]
    fn an_error_tells_what_was_refused_and_why() {
        let (stream, _) = bus("OK 0123\r\n", message(ERROR, 2, b"\x06\0\0\0no way\0"));
        let error = Bus::over(stream, TIMEOUT).unwrap().call(&METHOD, &Writer::default()).unwrap_err();
        assert_eq!(error.to_string(), "Do was refused: a.b.C: no way");
    }

    #[test]
    fn a_bus_that_rejects_us_is_an_error() {
        let (stream, _) = bus("REJECTED EXTERNAL\r\n", Vec::new());
        assert!(matches!(Bus::over(stream, TIMEOUT), Err(Error::Connection(_))));
    }

    #[test]
    fn a_silent_bus_is_given_up() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(matches!(Bus::over(ours, Duration::from_millis(20)), Err(Error::Connection(_))));
    }

    #[test]
    fn a_message_without_end_is_not_read() {
        let endless = b"l\x02\0\x01\xff\xff\xff\x7f\0\0\0\x01\0\0\0\0".to_vec();
        let (stream, _) = bus("OK 0123\r\n", endless);
        let error = Bus::over(stream, TIMEOUT).unwrap().call(&METHOD, &Writer::default()).unwrap_err();
        assert!(matches!(error, Error::Malformed));
    }
}
