//! Arithmetic between whole numbers and others: `data.qty * data.price`, whether the record says 10 or 10.5.
//!
//! The language keeps `int` and `double` apart. JSON does not: a price is 10 one day and 10.5 the next, and an expression that
//! works for one of them alone would give up records at random. So the four operators are calls of our own, which read a whole
//! number as a double where the other side is one and no digit is lost; all else goes to the language's own.

use cel::{
    Env, ExecutionError, Value,
    common::{
        ast::{Expr, IdedExpr, operators},
        types::{CelDouble, CelInt, CelUInt, DYN_TYPE},
        value::{CowVal, Val},
    },
};

/// The language's operators, and the functions that stand in for them.
const OPERATORS: [(&str, &str); 4] = [
    (operators::ADD, "@add"),
    (operators::SUBSTRACT, "@subtract"),
    (operators::MULTIPLY, "@multiply"),
    (operators::DIVIDE, "@divide"),
];

/// Above this a double does not hold every whole number.
const EXACT: u64 = 1 << 53;

/// Adds the functions to an environment.
pub(super) fn register(env: &mut Env) {
    let both = || vec![DYN_TYPE, DYN_TYPE];
    // None of these names is there yet, so that none can fail; a test calls each.
    let _ = env.add_overload("@add", "add_mixed", both(), |args| apply(Operator::Add, &args));
    let _ = env.add_overload("@subtract", "subtract_mixed", both(), |args| apply(Operator::Subtract, &args));
    let _ = env.add_overload("@multiply", "multiply_mixed", both(), |args| apply(Operator::Multiply, &args));
    let _ = env.add_overload("@divide", "divide_mixed", both(), |args| apply(Operator::Divide, &args));
}

/// Puts the functions in place of the operators.
pub(super) fn loosen(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) => {}
        Expr::Select(select) => loosen(&mut select.operand),
        Expr::Call(call) => {
            // A macro's own steps, which put a list together, are the interpreter's.
            let of_macro = |arg: &IdedExpr| match &arg.expr {
                Expr::List(_) => true,
                Expr::Ident(name) => name.starts_with('@'),
                _ => false,
            };
            let own = OPERATORS.iter().find(|(operator, _)| *operator == call.func_name);
            if let Some((_, function)) = own.filter(|_| call.args.len() == 2 && !call.args.iter().any(of_macro)) {
                call.func_name = (*function).to_owned();
            }
            call.target.iter_mut().for_each(|target| loosen(target));
            call.args.iter_mut().for_each(loosen);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(loosen),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let cel::common::ast::EntryExpr::MapEntry(entry) = &mut entry.expr {
                    loosen(&mut entry.key);
                    loosen(&mut entry.value);
                }
            }
        }
        Expr::Comprehension(fold) => {
            let parts =
                [&mut fold.iter_range, &mut fold.accu_init, &mut fold.loop_cond, &mut fold.loop_step, &mut fold.result];
            parts.into_iter().for_each(loosen);
        }
    }
}

#[derive(Clone, Copy)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

fn apply<'b, 'v>(operator: Operator, args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [left, right] = args else { return Err(ExecutionError::missing_argument_or_target()) };
    if left.get_type() != right.get_type()
        && let (Some(left), Some(right)) = (double(left.as_ref()), double(right.as_ref()))
    {
        return Ok(CowVal::owned(CelDouble::from(match operator {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide => left / right,
        })));
    }
    let (own, other) = (left.as_ref(), right.as_ref());
    let unsupported = || {
        let value = |of: &dyn Val| Value::try_from(of).unwrap_or(Value::Null);
        let name = match operator {
            Operator::Add => "add",
            Operator::Subtract => "sub",
            Operator::Multiply => "mul",
            Operator::Divide => "div",
        };
        ExecutionError::UnsupportedBinaryOperator(name, value(own), value(other))
    };
    let result = match operator {
        Operator::Add => own.as_adder().ok_or_else(unsupported)?.add(other),
        Operator::Subtract => own.as_subtractor().ok_or_else(unsupported)?.sub(other),
        Operator::Multiply => own.as_multiplier().ok_or_else(unsupported)?.mul(other),
        Operator::Divide => own.as_divider().ok_or_else(unsupported)?.div(other),
    };
    Ok(CowVal::Owned(result?.into_owned()))
}

/// A number as a double, where that is exact.
fn double(value: &dyn Val) -> Option<f64> {
    if let Some(double) = value.downcast_ref::<CelDouble>() {
        return Some(*double.inner());
    }
    if let Some(int) = value.downcast_ref::<CelInt>() {
        return (int.inner().unsigned_abs() <= EXACT).then_some(*int.inner() as f64);
    }
    let uint = value.downcast_ref::<CelUInt>()?;
    (*uint.inner() <= EXACT).then_some(*uint.inner() as f64)
}
