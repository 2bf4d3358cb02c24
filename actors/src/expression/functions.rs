//! The functions of expressions: the standard ones of the language, and its extensions for texts and mathematics.

use std::{cell::RefCell, collections::HashMap, sync::Arc, sync::LazyLock};

use cel::{
    Env, ExecutionError, Value,
    common::{
        types::{CelBool, CelList, CelMap, CelString, DYN_TYPE, STRING_TYPE},
        value::{CowVal, Val},
    },
    extensions,
    objects::Key,
};
use regex::Regex;

/// Gives the keys of a map in their order, and everything else as it is: what a loop goes over. Without it a map's keys would
/// come in another order each time.
pub(super) const ORDERED: &str = "@ordered";

/// `matches` with a pattern that was compiled before.
pub(super) const MATCHES: &str = "@matches";

/// The functions that an expression may call, for errors and for what is refused.
pub(super) const KNOWN: &[&str] = &[
    // The language's own.
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
    // Optional values.
    "hasValue",
    "none",
    "of",
    "ofNonZeroValue",
    "or",
    "orValue",
    "value",
    // Texts.
    "charAt",
    "format",
    "indexOf",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "quote",
    "replace",
    "reverse",
    "split",
    "substring",
    "trim",
    "upperAscii",
    // Mathematics.
    "abs",
    "bitAnd",
    "bitNot",
    "bitOr",
    "bitShiftLeft",
    "bitShiftRight",
    "bitXor",
    "ceil",
    "floor",
    "isFinite",
    "isInf",
    "isNaN",
    "round",
    "sign",
    "sqrt",
    "trunc",
    "math.@max",
    "math.@min",
];

/// Macros, which are gone once an expression is parsed; for errors.
pub(super) const MACROS: &[&str] =
    &["has", "all", "exists", "exists_one", "map", "filter", "optMap", "optFlatMap", "math.greatest", "math.least"];

/// Names in front of functions, and types, which stand where variables do.
pub(super) const NAMES: &[&str] = &[
    "math",
    "optional",
    "strings",
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// The environment of every expression.
pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // Each adds its functions to an environment that has none of their names, so that none of these can fail; a test calls
    // every function.
    let _ = env.add_extension(extensions::strings);
    let _ = env.add_extension(extensions::math);
    let _ = env.add_overload(ORDERED, "ordered", vec![DYN_TYPE], ordered);
    let _ = env.add_overload(MATCHES, "matches_compiled", vec![STRING_TYPE, STRING_TYPE], matches);
    super::mixed::register(&mut env);
    Arc::new(env)
});

fn ordered<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let Some(range) = args.into_iter().next() else { return Err(ExecutionError::missing_argument_or_target()) };
    let Some(map) = range.downcast_ref::<CelMap>() else { return Ok(range) };
    let mut keys: Vec<Key> = map.keys().cloned().map(Key::from).collect();
    keys.sort();
    let keys = keys.into_iter().map(|key| Box::<dyn Val>::try_from(Value::from(key))).collect::<Result<Vec<_>, _>>()?;
    Ok(CowVal::owned(CelList::from(keys.into_iter().map(|key| key as Box<dyn Val + 'v>).collect::<Vec<_>>())))
}

/// How many compiled patterns a thread keeps; a route has a handful.
const KEPT_PATTERNS: usize = 256;

thread_local! {
    static PATTERNS: RefCell<HashMap<Box<str>, Regex>> = RefCell::default();
}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = args.as_slice() else { return Err(ExecutionError::missing_argument_or_target()) };
    let (Some(text), Some(pattern)) = (text.downcast_ref::<CelString>(), pattern.downcast_ref::<CelString>()) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let found = PATTERNS.with_borrow_mut(|patterns| {
        if let Some(regex) = patterns.get(pattern.inner()) {
            return Ok(regex.is_match(text.inner()));
        }
        let regex =
            compile_pattern(pattern.inner()).map_err(|_| ExecutionError::function_error("matches", "a bad pattern"))?;
        if patterns.len() >= KEPT_PATTERNS {
            patterns.clear();
        }
        let found = regex.is_match(text.inner());
        patterns.insert(pattern.inner().into(), regex);
        Ok(found)
    })?;
    Ok(CowVal::owned(CelBool::from(found)))
}

/// A pattern of `matches`, with a bound on what it may take.
pub(super) fn compile_pattern(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build()
}
