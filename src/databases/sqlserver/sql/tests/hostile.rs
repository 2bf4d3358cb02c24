//! Names and values made to break out of T-SQL, and that they never do.

use std::sync::Arc;

use sqlparser::{
    dialect::MsSqlDialect,
    tokenizer::{Token, Tokenizer},
};
use tidegate_actors::{schema::ColumnType, transaction::Op};

use super::{balanced, statement};
use crate::databases::sqlserver::{slots::Tables, write};

/// The kinds of the tokens, without what they hold; comments and space left out.
fn shape(text: &str) -> Vec<String> {
    let tokens = Tokenizer::new(&MsSqlDialect {}, text).tokenize().unwrap();
    let kind = |token: Token| match token {
        Token::Whitespace(_) => None,
        Token::Word(word) if word.quote_style.is_some() => Some("[name]".to_owned()),
        other => Some(other.to_string()),
    };
    tokens.into_iter().filter_map(kind).collect()
}

proptest::proptest! {
    /// Whatever tables, columns and values are called, the T-SQL has the same structure, and values are not in it.
    #[test]
    fn hostile_names_and_values_never_break_out(
        names in proptest::collection::vec("[\\[\\]'\"`;()@/*\\-. \\na-zé車]{1,12}", 3),
        value in "[\\[\\]'\"`;()@/*\\-\\\\. \\n\\x01a-zé👩]{1,9}",
        place in 0_usize..6,
    ) {
        let op = [Op::Insert, Op::Upsert, Op::Update, Op::Delete, Op::Replace, Op::Clear][place];
        let named = |names: [&str; 3], value: &str| {
            let mut statement = statement(op, &[1], &[1, 5], &[&["one", value], &["two", "x"]]);
            let plan = Arc::get_mut(&mut statement.plan).unwrap();
            let mut table = (*plan.table).clone();
            table.name = names[0].into();
            table.columns[1].name = names[1].into();
            table.columns[5].name = names[2].into();
            table.columns[5].declared = "varchar(max)".into();
            table.columns[5].kind = ColumnType::Text { max_chars: None, max_bytes: None, nul: false };
            plan.table = Arc::new(table);
            write::rows_alone(&[statement], &Tables::new())
        };
        // The same doubts about its code page, and no others.
        let (plain, hostile) = (named(["t", "u", "v"], if value.is_ascii() { "w" } else { "é" }), named([&names[0], &names[1], &names[2]], &value));
        let (plain, hostile) = (plain.unwrap(), hostile.unwrap());
        balanced(&hostile.text);
        proptest::prop_assert_eq!(shape(&plain.text), shape(&hostile.text));
        let secret = format!("zzz{value}zzz");
        let secretive = named([&names[0], &names[1], &names[2]], &secret).unwrap();
        proptest::prop_assert!(!secretive.text.contains(&secret));
        // What the server reads out of the parameter is what was put in.
        let rows: serde_json::Value = serde_json::from_str(&hostile.parameters[0]).unwrap();
        proptest::prop_assert_eq!(rows[0][0][2].as_str(), Some(value.as_str()));
    }
}
