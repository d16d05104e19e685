//! The D-Bus message format (D-Bus specification, "Message Protocol"), as far as a method call and its reply need it:
//! little-endian, protocol version 1.

/// Writes values one after the other, each aligned from the start.
///
/// A nested array is written on its own and put in whole: what it holds starts on a multiple of eight in both places.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

/// Reads values one after the other; `None` is a malformed message.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Whom a method call is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) name: &'a str,
    /// The types of the arguments.
    pub(super) signature: &'a str,
}

/// A message as received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// The serial of the call that this answers.
    pub(super) reply_to: Option<u32>,
    pub(super) error_name: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What a received message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reply,
    Error,
    /// A signal or a call: nothing that was asked for.
    Other,
}

/// The bytes that tell how long a message is.
pub(super) const PREFIX: usize = 16;

const METHOD_CALL: u8 = 1;

impl Writer {
    pub(super) fn align(&mut self, to: usize) -> &mut Self {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self
    }

    pub(super) fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(super) fn number(&mut self, value: u32) -> &mut Self {
        self.align(4).0.extend(value.to_le_bytes());
        self
    }

    /// Writes a string or an object path.
    pub(super) fn string(&mut self, value: &str) -> &mut Self {
        self.number(length(value.len())).0.extend(value.bytes().chain([0]));
        self
    }

    pub(super) fn signature(&mut self, value: &str) -> &mut Self {
        self.byte(u8::try_from(value.len()).unwrap_or(u8::MAX)).0.extend(value.bytes().chain([0]));
        self
    }

    /// What was written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Writes an array of structures.
    pub(super) fn array(&mut self, elements: &Self) -> &mut Self {
        self.number(length(elements.bytes().len())).align(8).0.extend(elements.bytes());
        self
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn string(&mut self) -> Option<&'a str> {
        let count = usize::try_from(self.number()?).ok()?;
        self.text(count)
    }

    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let count = self.byte()?.into();
        self.text(count)
    }

    fn text(&mut self, count: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.take(count)?).ok()?;
        self.take(1)?;
        Some(text)
    }
}

impl Method<'_> {
    /// The call as bytes, with `body` as its arguments.
    pub(super) fn call(&self, serial: u32, body: &Writer) -> Vec<u8> {
        let mut fields = Writer::default();
        for (code, kind, value) in
            [(1, "o", self.path), (2, "s", self.interface), (3, "s", self.name), (6, "s", self.destination)]
        {
            fields.align(8).byte(code).signature(kind).string(value);
        }
        if !self.signature.is_empty() {
            fields.align(8).byte(8).signature("g").signature(self.signature);
        }
        let mut message = Writer::default();
        message.byte(b'l').byte(METHOD_CALL).byte(0).byte(1);
        message
            .number(length(body.bytes().len()))
            .number(serial)
            .array(&fields)
            .align(8)
            .0
            .extend(body.bytes());
        message.0
    }
}

/// How many bytes follow a message's first [`PREFIX`].
pub(super) fn rest(prefix: &[u8; PREFIX]) -> Option<usize> {
    let mut reader = Reader::new(prefix);
    if reader.take(4)?.first() != Some(&b'l') {
        return None;
    }
    let body = usize::try_from(reader.number()?).ok()?;
    reader.number()?;
    let fields = usize::try_from(reader.number()?).ok()?;
    fields.checked_next_multiple_of(8)?.checked_add(body)
}

impl Message {
    /// Reads a whole message.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = match reader.take(4)?.get(1)? {
            2 => Kind::Reply,
            3 => Kind::Error,
            _ => Kind::Other,
        };
        let body = usize::try_from(reader.number()?).ok()?;
        reader.number()?;
        let end = usize::try_from(reader.number()?).ok()?.checked_add(PREFIX)?;
        let mut message = Self { kind, reply_to: None, error_name: None, body: Vec::new() };
        while reader.at < end {
            reader.align(8);
            let code = reader.byte()?;
            match (code, reader.signature()?) {
                (4, "s") => message.error_name = Some(reader.string()?.to_owned()),
                (5, "u") => message.reply_to = Some(reader.number()?),
                (_, "s" | "o") => drop(reader.string()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.number()?),
                _ => return None,
            }
        }
        reader.align(8);
        message.body = reader.take(body)?.to_vec();
        Some(message)
    }
}

/// The length of something that this program wrote, which is never near four gigabytes.
fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Method<'_> = Method {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        name: "Hello",
        signature: "",
    };

    /// A message as a peer would send it.
    fn message(kind: u8, fields: &Writer, body: &Writer) -> Vec<u8> {
        let mut message = Writer::default();
        message.byte(b'l').byte(kind).byte(1).byte(1).number(length(body.bytes().len())).number(7);
        message.array(fields).align(8).0.extend(body.bytes());
        message.0
    }

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let expected: &[&[u8]] = &[
            b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00",
            b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00",
            b"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00",
            b"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00",
            b"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00",
        ];
        assert_eq!(HELLO.call(1, &Writer::default()), expected.concat());
    }

    #[test]
    fn the_types_of_the_arguments_and_their_length_go_with_a_call() {
        let mut body = Writer::default();
        body.string("ab").number(1);
        let call = Method { signature: "sb", ..HELLO }.call(2, &body);
        assert!(
            call.ends_with(b"\x08\x01g\x00\x02sb\x00\x02\x00\x00\x00ab\x00\x00\x01\x00\x00\x00"),
            "{call:?}"
        );
        assert_eq!(call.get(4..8), Some([12, 0, 0, 0].as_slice()));
    }

    #[test]
    fn structures_in_an_array_start_on_multiples_of_eight_and_padding_before_them_does_not_count() {
        let mut elements = Writer::default();
        elements.align(8).string("a").align(8).string("b");
        let mut body = Writer::default();
        body.string("x").array(&elements);
        let expected: &[&[u8]] =
            &[b"\x01\0\0\0x\0\0\0", b"\x0e\0\0\0\0\0\0\0", b"\x01\0\0\0a\0\0\0\x01\0\0\0b\0"];
        assert_eq!(body.0, expected.concat());
    }

    #[test]
    fn a_reply_is_read_past_fields_that_do_not_matter() {
        let mut fields = Writer::default();
        fields.align(8).byte(6).signature("s").string(":1.7").align(8).byte(8).signature("g").signature("s");
        fields.align(8).byte(5).signature("u").number(42);
        let mut body = Writer::default();
        body.string("auto");
        let bytes = message(2, &fields, &body);
        let expected = Message { kind: Kind::Reply, reply_to: Some(42), error_name: None, body: body.0 };
        assert_eq!(Message::parse(&bytes).as_ref(), Some(&expected));
        let prefix = bytes.first_chunk().unwrap();
        assert_eq!(rest(prefix), Some(bytes.len() - PREFIX));
    }

    #[test]
    fn an_error_has_its_name() {
        let mut fields = Writer::default();
        fields.align(8).byte(4).signature("s").string("a.b.C").align(8).byte(5).signature("u").number(3);
        let bytes = message(3, &fields, &Writer::default());
        let expected = Message {
            kind: Kind::Error,
            reply_to: Some(3),
            error_name: Some("a.b.C".to_owned()),
            body: Vec::new(),
        };
        assert_eq!(Message::parse(&bytes), Some(expected));
    }

    #[test]
    fn a_message_cut_short_anywhere_is_malformed() {
        let mut fields = Writer::default();
        fields.align(8).byte(5).signature("u").number(42).align(8).byte(8).signature("g").signature("s");
        let mut body = Writer::default();
        body.string("auto");
        let bytes = message(2, &fields, &body);
        for end in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn big_endian_is_not_read() {
        assert_eq!(rest(b"B\x02\x00\x01\0\0\0\0\0\0\0\x01\0\0\0\0"), None);
    }
}
