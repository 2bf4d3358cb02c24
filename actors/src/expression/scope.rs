//! What an expression can speak of, for one message: read from the record only as far as an expression asks for it, and once
//! for all expressions of the message.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use cel::{
    ExecutionError,
    common::{
        traits::Indexer,
        types::{CelInt, CelNull, CelString, CelTimestamp, MAP_TYPE, Type},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};

use super::{json, uses::Uses};
use crate::{
    cast::CastError,
    mapping::Whence,
    message::{Message, MessageId, Position},
};

/// What an expression can speak of, for one message: `data`, `key`, `topic`, `action`, `id`, `application`, `received`, and in a
/// child table `item` and `index`.
///
/// Making one costs nothing: the record is read by the first expression that needs it.
#[derive(Debug)]
pub(crate) struct Scope<'m> {
    message: &'m Message,
    whence: Whence<'m>,
    data: OnceLock<Arc<Record<'m>>>,
    element: Option<(Record<'m>, usize)>,
}

impl<'m> Scope<'m> {
    /// Of a message, or of an element of one of its arrays: raw JSON, and its place from 1.
    pub(crate) fn new(message: &'m Message, whence: Whence<'m>, element: Option<(&'m str, usize)>) -> Self {
        let element = element.map(|(raw, index)| (Record::new(raw), index));
        Self { message, whence, data: OnceLock::new(), element }
    }

    /// Of an element of one of the message's arrays: raw JSON, and its place from 1. What has been read of the message is
    /// shared, so that a thousand elements read it once.
    pub(crate) fn of_element(&self, raw: &'m str, index: usize) -> Self {
        let data = OnceLock::from(Arc::clone(self.data()));
        Self { message: self.message, whence: self.whence, data, element: Some((Record::new(raw), index)) }
    }

    fn data(&self) -> &Arc<Record<'m>> {
        self.data.get_or_init(|| Arc::new(Record::new(&self.message.data)))
    }

    /// How large the message is, in bytes.
    pub(super) fn bytes(&self) -> f64 {
        (self.message.data.len() + self.message.key.as_deref().map_or(0, str::len)) as f64
    }

    /// How many JSON values it has, at most.
    pub(super) fn values(&self) -> f64 {
        let texts = [&*self.message.data, self.message.key.as_deref().unwrap_or_default()];
        let begins_value = |byte: &u8| matches!(byte, b',' | b':' | b'[' | b'{');
        texts.iter().map(|text| text.as_bytes().iter().filter(|byte| begins_value(byte)).count()).sum::<usize>() as f64
            + 2.0
    }

    /// Reads what an expression uses, so that what can't be read is an error before anything is worked out.
    pub(super) fn read(&self, uses: &Uses) -> Result<(), CastError> {
        if uses.needs_data() {
            self.data().read(&uses.data.fields, uses.data.whole, "the record")?;
        }
        if let Some((element, _)) = &self.element
            && uses.needs_item()
        {
            element.read(&uses.item.fields, uses.item.whole, "the element")?;
        }
        Ok(())
    }
}

/// A piece of raw JSON, its fields read one by one as they are asked for.
#[derive(Debug)]
struct Record<'m> {
    raw: &'m str,
    /// The fields of an object, in their order; `None` where it is none.
    fields: OnceLock<Option<Vec<Field<'m>>>>,
    whole: OnceLock<Option<Box<dyn Val + 'm>>>,
}

#[derive(Debug)]
struct Field<'m> {
    name: Cow<'m, str>,
    raw: &'m str,
    value: OnceLock<Option<Box<dyn Val + 'm>>>,
}

impl<'m> Record<'m> {
    fn new(raw: &'m str) -> Self {
        Self { raw, fields: OnceLock::new(), whole: OnceLock::new() }
    }

    fn is_object(&self) -> bool {
        self.raw.trim_start().starts_with('{')
    }

    fn fields(&self) -> &[Field<'m>] {
        let fields = self.fields.get_or_init(|| {
            let members = json::members(self.raw).ok()?;
            let field = |(name, raw)| Field { name, raw, value: OnceLock::new() };
            Some(members.into_iter().map(field).collect())
        });
        fields.as_deref().unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&Field<'m>> {
        self.fields().iter().find(|field| field.name == name)
    }

    fn whole(&self) -> Option<&(dyn Val + 'm)> {
        self.whole.get_or_init(|| json::to_val(self.raw).ok()).as_deref()
    }

    fn read(&self, fields: &[Box<str>], whole: bool, label: &str) -> Result<(), CastError> {
        if whole || !self.is_object() {
            if self.whole.get().is_none() {
                let value = json::to_val(self.raw).map_err(|error| of_record(error, label))?;
                let _ = self.whole.set(Some(value));
            }
            return Ok(());
        }
        for name in fields {
            let mut found = self.fields().iter().filter(|field| *field.name == **name);
            let Some(field) = found.next() else { continue };
            if found.next().is_some() {
                return Err(CastError::kind(format!("can't be worked out: field `{name}` stands in {label} twice")));
            }
            if field.value.get().is_none() {
                let value = json::to_val(field.raw).map_err(|error| of_record(error, &format!("field `{name}`")))?;
                let _ = field.value.set(Some(value));
            }
        }
        if self.fields().is_empty() && json::members(self.raw).is_err() {
            return Err(CastError::kind(format!("can't be worked out: {label} is not a JSON object that can be read")));
        }
        Ok(())
    }
}

#[cold]
fn of_record(error: CastError, label: &str) -> CastError {
    CastError { code: error.code, why: format!("can't be worked out: {label} {}", error.why) }
}

impl<'m> Field<'m> {
    fn value(&self) -> Option<&(dyn Val + 'm)> {
        self.value.get_or_init(|| json::to_val(self.raw).ok()).as_deref()
    }
}

/// The variables of one message, for one expression.
pub(super) struct Variables<'s, 'm> {
    pub(super) scope: &'s Scope<'m>,
    pub(super) uses: &'s Uses,
}

impl VariableResolver for Variables<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        let message = self.scope.message;
        // The interpreter asks for `data.total` before it asks for `data`.
        if let Some((record, field)) = variable.split_once('.') {
            let record = match record {
                "data" if !self.uses.data.whole => &**self.scope.data(),
                "item" if !self.uses.item.whole => &self.scope.element.as_ref()?.0,
                _ => return None,
            };
            return record.field(field)?.value().map(CowVal::Borrowed);
        }
        match variable {
            "data" => Some(self.record(self.scope.data(), self.uses.data.whole)),
            "item" => Some(self.record(&self.scope.element.as_ref()?.0, self.uses.item.whole)),
            "index" => Some(CowVal::owned(CelInt::from(self.scope.element.as_ref()?.1 as i64))),
            "key" => match &message.key {
                Some(key) => json::to_val(key).ok().map(CowVal::Owned),
                None => Some(CowVal::owned(CelNull)),
            },
            "topic" => text(&message.topic),
            "action" => text(message.action.as_str()),
            "application" => text(self.scope.whence.application),
            "id" => {
                let position = Position { generation: self.scope.whence.generation.clone(), id: message.id };
                Some(CowVal::owned(CelString::from(MessageId(position).to_string())))
            }
            "received" => {
                let at = chrono::DateTime::from_timestamp_millis(i64::try_from(message.id.ms).ok()?)?;
                Some(CowVal::owned(CelTimestamp::from(at.fixed_offset())))
            }
            _ => None,
        }
    }
}

impl Variables<'_, '_> {
    fn record<'b>(&'b self, record: &'b Record<'_>, whole: bool) -> CowVal<'b, 'b> {
        if whole || !record.is_object() {
            return match record.whole() {
                Some(value) => CowVal::Borrowed(value),
                None => CowVal::owned(CelNull),
            };
        }
        CowVal::owned(Fields(record))
    }
}

/// An object of which an expression asks for fields by their names alone.
#[derive(Clone, Copy, Debug)]
struct Fields<'s, 'm>(&'s Record<'m>);

impl Val for Fields<'_, '_> {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn into_indexer<'v>(self: Box<Self>) -> Option<Box<dyn Indexer + 'v>>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for Fields<'_, '_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = index.downcast_ref::<CelString>().map(CelString::inner).unwrap_or_default();
        let value = self.0.field(name).and_then(Field::value);
        value.map(|value| CowVal::Owned(value.clone_as_boxed())).ok_or_else(|| ExecutionError::no_such_key(name))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}
