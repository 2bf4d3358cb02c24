//! What an expression can cost at most, worked out before it runs: a polynomial in the size of the record.
//!
//! The language always ends, but loops inside loops, and loops that join texts, can take or make far more than a node has. So
//! each expression gets a bound when it is compiled: one that no small record could meet is refused there, one that only a
//! large record could exceed is checked against each record's size before it runs.

use std::collections::BTreeMap;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::{functions, scope::Scope};

/// What one evaluation may cost at most by this estimate, in nanoseconds or bytes written: half a second, half a gibibyte. What
/// it costs in truth is a fraction of that, as the estimate takes each part for as large as it could be.
const BUDGET: f64 = (1_u64 << 29) as f64;
/// What a step of the interpreter costs in the same unit.
const STEP: f64 = 50.0;
/// The sizes, in bytes and JSON values, of a record that any expression must be able to take.
const SMALL: (f64, f64) = (512.0, 32.0);
/// The same of a record as large as the door lets in by default.
const LARGE: (f64, f64) = ((1_u64 << 20) as f64, (1_u64 << 19) as f64);
/// Beyond these, working out the bound would itself take long.
const MAX_TERMS: usize = 256;
const MAX_DEGREE: usize = 12;

/// What an expression can cost, where that depends on the record.
#[derive(Debug)]
pub(super) struct Limit(Poly);

impl Limit {
    /// The bound of an expression; `None` where no record that is let in exceeds the budget.
    pub(super) fn of(expr: &IdedExpr) -> Result<Option<Self>, String> {
        const TOO_MUCH: &str = "it goes over lists within lists, or joins them, so often that even a small record could take too long: \
             take out loops";
        let mut estimate = Estimate { variables: BTreeMap::new(), made: 2 };
        let Ok(known) = estimate.of(expr) else { return Err(TOO_MUCH.to_owned()) };
        let cost = known.cost.plus(&known.bytes).plus(&known.values.times_number(STEP));
        if cost.at(SMALL) > BUDGET {
            return Err(TOO_MUCH.to_owned());
        }
        Ok((cost.at(LARGE) > BUDGET).then_some(Self(cost)))
    }

    /// Whether a message is small enough for the budget.
    pub(super) fn allows(&self, scope: &Scope<'_>) -> bool {
        let bytes = scope.bytes();
        // A value takes two bytes at least, so that small records need no counting.
        self.0.at((bytes, bytes / 2.0 + 2.0)) <= BUDGET || self.0.at((bytes, scope.values())) <= BUDGET
    }
}

/// A quantity: the bytes of the record, its values, or those of the element that a loop is at.
type Variable = u16;
const BYTES: Variable = 0;
const VALUES: Variable = 1;

/// A sum of products of quantities, each with a factor.
#[derive(Clone, Debug, Default)]
struct Poly(BTreeMap<Vec<Variable>, f64>);

#[derive(Debug)]
struct TooMany;

impl Poly {
    fn number(number: f64) -> Self {
        Self(BTreeMap::from([(Vec::new(), number)]))
    }

    fn variable(variable: Variable) -> Self {
        Self(BTreeMap::from([(vec![variable], 1.0)]))
    }

    fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (product, factor) in &other.0 {
            *sum.0.entry(product.clone()).or_default() += factor;
        }
        sum
    }

    fn times_number(&self, number: f64) -> Self {
        Self(self.0.iter().map(|(product, factor)| (product.clone(), factor * number)).collect())
    }

    fn times(&self, other: &Self) -> Result<Self, TooMany> {
        let mut out = Self::default();
        for (left, one) in &self.0 {
            for (right, two) in &other.0 {
                let mut product = [left.as_slice(), right].concat();
                if product.len() > MAX_DEGREE {
                    return Err(TooMany);
                }
                product.sort_unstable();
                *out.0.entry(product).or_default() += one * two;
            }
        }
        if out.0.len() > MAX_TERMS { Err(TooMany) } else { Ok(out) }
    }

    /// The sum over a list's elements. The elements' bytes and values together are those of the list, and so is the sum of
    /// their powers at most that power of the list's; what does not depend on the element is there once for each.
    fn summed(&self, element: &Size, list: &Size) -> Result<Self, TooMany> {
        let mut sum = Self::default();
        for (product, factor) in &self.0 {
            let rest: Vec<_> = product.iter().copied().filter(|quantity| !element.is(*quantity)).collect();
            let mut term = Self(BTreeMap::from([(rest, *factor)]));
            for quantity in product.iter().filter(|quantity| element.is(**quantity)) {
                term = term.times(if element.bytes.is(*quantity) { &list.bytes } else { &list.values })?;
            }
            if product.iter().all(|quantity| !element.is(*quantity)) {
                term = term.times(&list.values)?;
            }
            sum = sum.plus(&term);
        }
        Ok(sum)
    }

    fn is(&self, quantity: Variable) -> bool {
        self.0.len() == 1 && self.0.contains_key([quantity].as_slice())
    }

    fn at(&self, (bytes, values): (f64, f64)) -> f64 {
        let value = |quantity: &Variable| if *quantity == BYTES { bytes } else { values };
        self.0.iter().map(|(product, factor)| product.iter().map(value).product::<f64>() * factor).sum()
    }
}

/// How large a value can be.
#[derive(Clone, Debug)]
struct Size {
    bytes: Poly,
    values: Poly,
}

impl Size {
    fn constant(bytes: usize) -> Self {
        Self { bytes: Poly::number(bytes as f64), values: Poly::number(1.0) }
    }

    fn plus(&self, other: &Self) -> Self {
        Self { bytes: self.bytes.plus(&other.bytes), values: self.values.plus(&other.values) }
    }

    fn is(&self, quantity: Variable) -> bool {
        self.bytes.is(quantity) || self.values.is(quantity)
    }

    /// What looking at all of it costs.
    fn cost(&self) -> Poly {
        self.bytes.plus(&self.values.times_number(STEP))
    }
}

/// A value's size and what it costs to make it.
#[derive(Clone, Debug)]
struct Known {
    bytes: Poly,
    values: Poly,
    cost: Poly,
}

impl Known {
    fn new(size: Size, cost: Poly) -> Self {
        Self { bytes: size.bytes, values: size.values, cost }
    }

    fn size(&self) -> Size {
        Size { bytes: self.bytes.clone(), values: self.values.clone() }
    }
}

struct Estimate {
    /// The variables of loops, by name, the innermost last.
    variables: BTreeMap<String, Vec<Size>>,
    /// How many quantities there are.
    made: Variable,
}

impl Estimate {
    fn of(&mut self, expr: &IdedExpr) -> Result<Known, TooMany> {
        let step = Poly::number(STEP);
        Ok(match &expr.expr {
            Expr::Unspecified | Expr::Struct(_) => Known::new(Size::constant(1), step),
            Expr::Literal(LiteralValue::String(text)) => Known::new(Size::constant(text.inner().len()), step),
            Expr::Literal(LiteralValue::Bytes(bytes)) => Known::new(Size::constant(bytes.inner().len()), step),
            Expr::Literal(_) => Known::new(Size::constant(16), step),
            Expr::Ident(name) => Known::new(self.variable(name), step),
            Expr::Select(select) => {
                let operand = self.of(&select.operand)?;
                Known { cost: operand.cost.plus(&step), ..operand }
            }
            Expr::Call(call) => self.call(call)?,
            Expr::List(list) => self.gathered(list.elements.iter())?,
            Expr::Map(map) => {
                let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => Some([&entry.key, &entry.value]),
                    EntryExpr::StructField(_) => None,
                });
                self.gathered(entries.flatten())?
            }
            Expr::Comprehension(fold) => self.fold(fold)?,
        })
    }

    /// Of a loop's variable, or else of the whole record.
    fn variable(&self, name: &str) -> Size {
        match self.variables.get(name).and_then(|sizes| sizes.last()) {
            Some(size) => size.clone(),
            None => {
                let texts = Size::constant(256);
                texts.plus(&Size { bytes: Poly::variable(BYTES), values: Poly::variable(VALUES) })
            }
        }
    }

    /// A new value that holds a copy of each part.
    fn gathered<'e>(&mut self, parts: impl Iterator<Item = &'e IdedExpr>) -> Result<Known, TooMany> {
        let (mut size, mut cost) = (Size::constant(16), Poly::number(STEP));
        for part in parts {
            let part = self.of(part)?;
            size = size.plus(&part.size());
            cost = cost.plus(&part.cost).plus(&part.size().cost());
        }
        Ok(Known::new(size, cost))
    }

    fn call(&mut self, call: &CallExpr) -> Result<Known, TooMany> {
        let parts: Vec<Known> = call
            .target
            .iter()
            .map(|target| &**target)
            .chain(&call.args)
            .map(|part| self.of(part))
            .collect::<Result<_, _>>()?;
        let mut all = Size::constant(0);
        let mut cost = Poly::number(2.0 * STEP);
        for part in &parts {
            all = all.plus(&part.size());
            cost = cost.plus(&part.cost);
        }
        let read = cost.plus(&all.cost());
        let one = |place: usize| parts.get(place).map_or_else(|| Size::constant(1), Known::size);
        Ok(match call.func_name.as_str() {
            operators::ADD => Known::new(all.clone(), read),
            // Nothing is copied.
            operators::CONDITIONAL | functions::ORDERED => Known::new(all, cost),
            operators::INDEX => Known::new(one(0), read),
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE => {
                Known::new(Size::constant(1), cost)
            }
            operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN
            | functions::MATCHES
            | "size"
            | "contains"
            | "startsWith"
            | "endsWith"
            | "indexOf"
            | "lastIndexOf"
            | "has"
            | "type" => Known::new(Size::constant(64), read),
            // Each byte that is replaced, and the end, may become the new text.
            "replace" => {
                let bytes = one(0).bytes.plus(&Poly::number(1.0)).times(&one(2).bytes)?.plus(&one(0).bytes);
                Known::new(Size { bytes: bytes.clone(), values: Poly::number(1.0) }, read.plus(&bytes))
            }
            "join" => {
                let bytes = one(0).values.times(&one(1).bytes)?.plus(&one(0).bytes);
                Known::new(Size { bytes: bytes.clone(), values: Poly::number(1.0) }, read.plus(&bytes))
            }
            // One element for each byte, where it is split at nothing.
            "split" => {
                let size = Size { bytes: all.bytes.clone(), values: all.bytes.plus(&Poly::number(1.0)) };
                Known::new(size.clone(), read.plus(&size.cost()))
            }
            // A clause writes at most 1,000 decimals of its number.
            "format" => {
                let bytes = all.bytes.times_number(4.0).plus(&all.values.times_number(1500.0));
                Known::new(Size { bytes: bytes.clone(), values: Poly::number(1.0) }, read.plus(&bytes))
            }
            // Texts at most become a few times as long, in quotes or as base64; numbers and times have short texts.
            _ => {
                let size =
                    Size { bytes: all.bytes.times_number(2.0).plus(&Poly::number(64.0)), values: all.values.clone() };
                Known::new(size.clone(), read.plus(&size.cost()))
            }
        })
    }

    fn fold(&mut self, fold: &ComprehensionExpr) -> Result<Known, TooMany> {
        let range = self.of(&fold.iter_range)?;
        let init = self.of(&fold.accu_init)?;
        if matches!(&fold.iter_range.expr, Expr::List(list) if list.elements.is_empty()) {
            // No loop: a name for a value.
            let result = self.with(&fold.accu_var, init.size(), |estimate| estimate.of(&fold.result))?;
            return Ok(Known { cost: result.cost.plus(&init.cost), ..result });
        }
        if self.made > Variable::MAX - 2 {
            return Err(TooMany);
        }
        let element = Size { bytes: Poly::variable(self.made), values: Poly::variable(self.made + 1) };
        self.made += 2;
        let accumulator = Size::constant(16);
        let (accu_var, iter_var) = (&fold.accu_var, &fold.iter_var);
        let (step, condition) = self.with(accu_var, accumulator, |estimate| {
            estimate.with(iter_var, element.clone(), |estimate| {
                Ok((estimate.of(&fold.loop_step)?, estimate.of(&fold.loop_cond)?))
            })
        })?;
        let list = range.size().plus(&Size::constant(1));
        let each = step.cost.plus(&condition.cost).plus(&element.cost()).plus(&Poly::number(4.0 * STEP));
        let cost = range.cost.plus(&init.cost).plus(&each.summed(&element, &list)?);
        // What each step appends, if it is a list that the loop makes.
        let gathered =
            Size { bytes: step.bytes.summed(&element, &list)?, values: step.values.summed(&element, &list)? };
        let size = match &fold.accu_init.expr {
            Expr::Literal(_) => Size::constant(16),
            _ => gathered.plus(&Size::constant(16)),
        };
        let cost = cost.plus(&size.cost());
        Ok(Known::new(size, cost))
    }

    fn with<T>(
        &mut self,
        name: &str,
        size: Size,
        then: impl FnOnce(&mut Self) -> Result<T, TooMany>,
    ) -> Result<T, TooMany> {
        self.variables.entry(name.to_owned()).or_default().push(size);
        let outcome = then(self);
        if let Some(sizes) = self.variables.get_mut(name) {
            sizes.pop();
        }
        outcome
    }
}
