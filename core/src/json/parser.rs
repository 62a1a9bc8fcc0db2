//! The recursive-descent reader behind [`super::parse`] (RFC 8259).

use super::names::Names;
use super::{JsonError, Limits, Value};

/// Reads one document with nothing but white space around it. The elements of the list that is the member `taken.0` of the
/// outermost object are handed over as they are read, and the list is empty in the end.
pub(super) fn document<'a>(
    text: &'a str,
    limits: Limits,
    taken: Option<(&'a str, &'a mut dyn FnMut(Value))>,
) -> Result<Value, JsonError> {
    Parser::new(text, limits, taken).document()
}

/// Where [`document`] stops at a fault; none where there is no fault.
pub(super) fn fault(text: &str, limits: Limits) -> Option<usize> {
    let mut parser = Parser::new(text, limits, None);
    match parser.document().err()? {
        JsonError::Unexpected { offset }
        | JsonError::String { offset }
        | JsonError::Number { offset }
        | JsonError::TrailingData { offset } => Some(offset),
        JsonError::UnexpectedEnd => Some(text.len()),
        JsonError::DuplicateName { .. } => Some(parser.name),
        _ => Some(parser.at),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Where the last name of a member begins.
    name: usize,
    limits: Limits,
    values: usize,
    taken: Option<(&'a str, &'a mut dyn FnMut(Value))>,
}

impl<'a> Parser<'a> {
    fn new(
        text: &'a str,
        limits: Limits,
        taken: Option<(&'a str, &'a mut dyn FnMut(Value))>,
    ) -> Self {
        Self {
            text,
            at: 0,
            name: 0,
            limits,
            values: 0,
            taken,
        }
    }

    fn document(&mut self) -> Result<Value, JsonError> {
        let value = self.value(0)?;
        self.white_space();
        match self.peek() {
            None => Ok(value),
            Some(_) => Err(JsonError::TrailingData { offset: self.at }),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn bump(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.bump();
        }
    }

    fn unexpected(&self) -> JsonError {
        match self.peek() {
            None => JsonError::UnexpectedEnd,
            Some(_) => JsonError::Unexpected { offset: self.at },
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.bump();
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn count(&mut self) -> Result<(), JsonError> {
        self.values = self.values.saturating_add(1);
        match self.values > self.limits.values {
            true => Err(JsonError::TooManyValues {
                limit: self.limits.values,
            }),
            false => Ok(()),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.white_space();
        self.count()?;
        match self.peek() {
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => {
                let depth = self.deeper(depth)?;
                let mut items = Vec::new();
                self.array(depth, &mut |item| items.push(item))?;
                Ok(Value::Array(items))
            }
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, JsonError> {
        if depth >= self.limits.depth {
            return Err(JsonError::TooDeep {
                limit: self.limits.depth,
            });
        }
        Ok(depth.saturating_add(1))
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        for byte in word.bytes() {
            self.expect(byte)?;
        }
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.expect(b'{')?;
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut names = Names::default();
        self.white_space();
        if self.peek() == Some(b'}') {
            self.bump();
            return Ok(Value::Object(members));
        }
        loop {
            self.white_space();
            self.name = self.at;
            let name = self.string()?;
            if !names.is_new(&name, members.iter().map(|(name, _)| name.as_str())) {
                let name = name.chars().take(200).collect();
                return Err(JsonError::DuplicateName { name });
            }
            self.white_space();
            self.expect(b':')?;
            let value = match self.takes(depth, &name) {
                true => self.taken_list(depth)?,
                false => self.value(depth)?,
            };
            members.push((name, value));
            self.white_space();
            if self.peek() == Some(b',') {
                self.bump();
                continue;
            }
            self.expect(b'}')?;
            return Ok(Value::Object(members));
        }
    }

    /// Whether this member of an object at `depth` is the list whose elements are handed over.
    fn takes(&mut self, depth: usize, name: &str) -> bool {
        if depth != 1 || self.taken.as_ref().is_none_or(|(taken, _)| *taken != name) {
            return false;
        }
        self.white_space();
        self.peek() == Some(b'[')
    }

    fn taken_list(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.count()?;
        let depth = self.deeper(depth)?;
        // The same name is not read twice.
        if let Some((_, each)) = self.taken.take() {
            self.array(depth, each)?;
        }
        Ok(Value::Array(Vec::new()))
    }

    fn array(&mut self, depth: usize, each: &mut dyn FnMut(Value)) -> Result<(), JsonError> {
        self.expect(b'[')?;
        self.white_space();
        if self.peek() == Some(b']') {
            self.bump();
            return Ok(());
        }
        loop {
            each(self.value(depth)?);
            self.white_space();
            if self.peek() == Some(b',') {
                self.bump();
                continue;
            }
            return self.expect(b']');
        }
    }

    /// `number = [ "-" ] int [ frac ] [ exp ]`
    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.bump();
        }
        match self.peek() {
            Some(b'0') => self.bump(),
            Some(b'1'..=b'9') => self.digits(start)?,
            _ => return Err(JsonError::Number { offset: start }),
        }
        if self.peek() == Some(b'.') {
            self.bump();
            self.digits(start)?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.bump();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.bump();
            }
            self.digits(start)?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Value::Number(text.to_owned()))
    }

    fn digits(&mut self, start: usize) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(JsonError::Number { offset: start });
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.bump();
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..).ok_or(JsonError::UnexpectedEnd)?;
            let plain = rest
                .bytes()
                .position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))
                .ok_or(JsonError::UnexpectedEnd)?;
            out.push_str(rest.get(..plain).unwrap_or_default());
            self.at = self.at.saturating_add(plain);
            match self.peek() {
                Some(b'"') => {
                    self.bump();
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.bump();
                    out.push(self.escape()?);
                }
                _ => return Err(JsonError::String { offset: self.at }),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let offset = self.at;
        let byte = self.peek().ok_or(JsonError::UnexpectedEnd)?;
        self.bump();
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(offset),
            _ => return Err(JsonError::String { offset }),
        })
    }

    fn unicode_escape(&mut self, offset: usize) -> Result<char, JsonError> {
        let bad = || JsonError::String { offset };
        let first = self.four_hex(offset)?;
        if !(0xd800..=0xdfff).contains(&first) {
            return char::from_u32(first).ok_or_else(bad);
        }
        if self.peek() != Some(b'\\') {
            return Err(bad());
        }
        self.bump();
        if self.peek() != Some(b'u') {
            return Err(bad());
        }
        self.bump();
        let second = self.four_hex(offset)?;
        char::decode_utf16([first, second].map(|unit| u16::try_from(unit).unwrap_or_default()))
            .next()
            .and_then(Result::ok)
            .ok_or_else(bad)
    }

    fn four_hex(&mut self, offset: usize) -> Result<u32, JsonError> {
        let end = self.at.saturating_add(4);
        let digits = self
            .text
            .get(self.at..end)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or(JsonError::String { offset })?;
        self.at = end;
        u32::from_str_radix(digits, 16).map_err(|_| JsonError::String { offset })
    }
}
