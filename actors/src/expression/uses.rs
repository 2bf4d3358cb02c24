//! Looking over a parsed expression: every name in it is known, and what it uses of the record is written down.
//!
//! Along the way `matches` gets its pattern compiled, and loops get their maps in order.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::functions;
use crate::mapping::nearest;

/// The variables that every expression may use; the last two in a child table only.
pub(super) const VARIABLES: &[&str] =
    &["data", "key", "topic", "action", "id", "application", "received", "item", "index"];

/// How deep an expression may nest, so that a thread's two mebibytes of stack are enough for it in any build.
const MAX_DEPTH: usize = 48;

/// What an expression uses.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pub(super) variables: BTreeSet<Box<str>>,
    pub(super) data: RecordUse,
    pub(super) item: RecordUse,
}

/// What it uses of a record.
#[derive(Debug, Default)]
pub(super) struct RecordUse {
    /// The fields that it names.
    pub(super) fields: Vec<Box<str>>,
    /// Whether it uses the record otherwise than by the names of its fields.
    pub(super) whole: bool,
}

impl Uses {
    pub(super) fn needs_data(&self) -> bool {
        self.variables.contains("data")
    }

    pub(super) fn needs_item(&self) -> bool {
        self.variables.contains("item")
    }

    fn record(&mut self, variable: &str) -> Option<&mut RecordUse> {
        match variable {
            "data" => Some(&mut self.data),
            "item" => Some(&mut self.item),
            _ => None,
        }
    }
}

/// What is wrong, and the node where it is.
pub(super) type Found = (u64, String);

/// Looks over the expression.
pub(super) fn look_over(expr: &mut IdedExpr) -> Result<Uses, Found> {
    let mut walk = Walk { uses: Uses::default(), bound: Vec::new() };
    walk.expr(expr, 0)?;
    Ok(walk.uses)
}

struct Walk {
    uses: Uses,
    /// The variables of the loops around.
    bound: Vec<String>,
}

impl Walk {
    fn expr(&mut self, expr: &mut IdedExpr, depth: usize) -> Result<(), Found> {
        if depth > MAX_DEPTH {
            return Err((expr.id, format!("it nests deeper than {MAX_DEPTH}: split it, or take out parentheses")));
        }
        let (id, next) = (expr.id, depth + 1);
        match &mut expr.expr {
            Expr::Unspecified => return Err((id, "something is missing here".to_owned())),
            Expr::Literal(_) => {}
            Expr::Ident(name) => self.variable(id, name, None)?,
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr {
                    self.variable(select.operand.id, name, Some(&select.field))?;
                } else {
                    self.expr(&mut select.operand, next)?;
                }
            }
            Expr::Call(call) => self.call(id, call, next)?,
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.expr(element, next)?;
                }
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return Err((id, "a type that is not known".to_owned()));
                    };
                    self.expr(&mut entry.key, next)?;
                    self.expr(&mut entry.value, next)?;
                }
            }
            Expr::Struct(object) => {
                return Err((
                    id,
                    format!("the type `{}` is not known; a map is written {{'name': value}}", object.type_name),
                ));
            }
            Expr::Comprehension(fold) => {
                self.expr(&mut fold.iter_range, next)?;
                self.expr(&mut fold.accu_init, next)?;
                let outside = self.bound.len();
                self.bound.extend([fold.iter_var.clone(), fold.accu_var.clone()]);
                self.bound.extend(fold.iter_var2.clone());
                for part in [&mut fold.loop_cond, &mut fold.loop_step, &mut fold.result] {
                    self.expr(part, next)?;
                }
                self.bound.truncate(outside);
                let is_binding = matches!(&fold.iter_range.expr, Expr::List(list) if list.elements.is_empty());
                if !is_binding {
                    let range = std::mem::take(&mut fold.iter_range);
                    fold.iter_range = call(range.id, functions::ORDERED, vec![range]);
                }
            }
        }
        Ok(())
    }

    /// A variable, of which a field may be named.
    fn variable(&mut self, id: u64, name: &str, field: Option<&str>) -> Result<(), Found> {
        if name.starts_with('@') || self.bound.iter().any(|bound| bound == name) {
            return Ok(());
        }
        if VARIABLES.contains(&name) {
            self.uses.variables.insert(name.into());
            if let Some(record) = self.uses.record(name) {
                match field {
                    Some(field) if !record.fields.iter().any(|known| **known == *field) => {
                        record.fields.push(field.into())
                    }
                    Some(_) => {}
                    None => record.whole = true,
                }
            }
            return Ok(());
        }
        if functions::NAMES.contains(&name) {
            return Ok(());
        }
        let known = VARIABLES.iter().copied().chain(self.bound.iter().map(String::as_str));
        let hint = match nearest(name, known) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => format!("; a field is written `data.{name}`, a text 'in quotes'"),
        };
        Err((id, format!("there is no variable `{name}`{hint}")))
    }

    fn call(&mut self, id: u64, call: &mut CallExpr, next: usize) -> Result<(), Found> {
        if !is_operator(&call.func_name) && !functions::KNOWN.contains(&call.func_name.as_str()) {
            let name = &call.func_name;
            let known = functions::KNOWN.iter().chain(functions::MACROS).copied().filter(|known| !known.contains('@'));
            let hint = match nearest(name, known) {
                Some(near) if near == name => format!("; `{near}` is called with other arguments, or on a value"),
                Some(near) => format!("; did you mean `{near}`?"),
                None => String::new(),
            };
            return Err((id, format!("there is no function `{name}`{hint}")));
        }
        // `data.?name`, `data["name"]` and `data[?"name"]` name a field as `data.name` does.
        if let [record, field] = call.args.as_slice()
            && [operators::OPT_SELECT, operators::INDEX, operators::OPT_INDEX].contains(&call.func_name.as_str())
            && let (Expr::Ident(name), Some(field)) = (&record.expr, literal_text(field))
        {
            return self.variable(record.id, name, Some(field));
        }
        if call.func_name == "matches" {
            use_compiled_pattern(id, call)?;
        }
        if let Some(target) = &mut call.target {
            self.expr(target, next)?;
        }
        for argument in &mut call.args {
            self.expr(argument, next)?;
        }
        Ok(())
    }
}

fn is_operator(name: &str) -> bool {
    name.starts_with('@') || name.starts_with('_') || [operators::LOGICAL_NOT, operators::NEGATE].contains(&name)
}

fn literal_text(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn call(id: u64, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }) }
}

/// A pattern that stands in the expression is compiled once; one that comes from a record would be compiled for each record,
/// and could be made to take long.
fn use_compiled_pattern(id: u64, call: &mut CallExpr) -> Result<(), Found> {
    let pattern = match (&call.target, call.args.as_slice()) {
        (Some(_), [pattern]) | (None, [_, pattern]) => pattern,
        _ => return Err((id, "`matches` takes a text and a pattern".to_owned())),
    };
    let Some(text) = literal_text(pattern) else {
        return Err((pattern.id, "the pattern of `matches` must stand in the expression, in quotes".to_owned()));
    };
    if let Err(error) = functions::compile_pattern(text) {
        return Err((pattern.id, format!("the pattern of `matches` can't be read: {error}")));
    }
    call.func_name = functions::MATCHES.to_owned();
    if let Some(target) = call.target.take() {
        call.args.insert(0, *target);
    }
    Ok(())
}
