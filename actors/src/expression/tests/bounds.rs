use super::*;

#[test]
fn length_and_depth_are_bounded() {
    assert!(refused(&"1 + ".repeat(2000)).contains("bytes, at most 4096 are read"));
    for expression in [
        "1+".repeat(2000) + "1",
        "(".repeat(2000) + "1" + &")".repeat(2000),
        "[".repeat(2000) + &"]".repeat(2000),
        "-".repeat(4000) + "1",
        "!".repeat(4000) + "true",
        "a?1:".repeat(1000) + "1",
        "data".to_owned() + &".a".repeat(2000),
        "data".to_owned() + &"[0]".repeat(1300),
        "data".to_owned() + &".f()".repeat(1000),
        "data.a".to_owned() + &".map(x,x)".repeat(400),
        "{1:".repeat(1000) + "1" + &"}".repeat(1000),
        "a&&".repeat(1300) + "a",
        "((((((((((".repeat(100),
        "'".repeat(4095),
        "\u{1F697}".repeat(1000),
        "\0".repeat(4000),
        "`".repeat(4000),
        "data.?a".to_owned() + &".?a".repeat(1300),
    ] {
        let start = std::time::Instant::now();
        // Either is fine; what counts is that it ends and takes no stack away.
        if let Ok(expression) = Expression::compile(&expression) {
            let message = message(RECORD);
            let _ = expression.value(&Scope::new(&message, whence(), None));
        }
        let name: String = expression.chars().take(20).collect();
        assert!(start.elapsed().as_secs() < 60, "{name}");
    }
}

#[test]
fn what_grows_without_bound_is_refused_when_it_is_compiled() {
    for expression in [
        "['ab']".to_owned() + &".map(x, x + x)".repeat(40),
        "[[1]]".to_owned() + &".map(x, [x, x])".repeat(40),
        "[1,2,3,4,5,6,7,8,9].map(x, ".repeat(12) + "x" + &")".repeat(12),
        "data.a.all(a, data.a.all(b, data.a.all(c, data.a.all(d, data.a.all(e, data.a.all(f, true))))))".to_owned(),
        "data.s.replace('', data.s).replace('', data.s).replace('', data.s).replace('', data.s)".to_owned(),
    ] {
        assert!(refused(&expression).contains("can cost too much"), "{expression}");
    }
}

#[test]
fn loops_within_loops_are_for_records_that_they_can_take() {
    let nested = "data.a.all(x, data.a.all(y, data.a.all(z, x + y + z >= 0)))";
    let joined = "data.a.map(x, data.text).join('').size() > 0";
    let record = |elements: usize, text: usize| {
        format!(r#"{{"a": [{}], "text": "{}"}}"#, vec!["1"; elements].join(","), "t".repeat(text))
    };
    assert_eq!(value(nested, &record(20, 10)), "true");
    assert_eq!(value(joined, &record(20, 1000)), "true");
    assert!(why(nested, &record(10_000, 10)).contains("for smaller records"));
    assert!(why(joined, &record(100_000, 100_000)).contains("for smaller records"));
    // A loop over the elements of elements sees each of them once, so that size does not matter.
    let lines = format!(r#"{{"a": [{}]}}"#, vec![r#"{"tags": ["x", "y"]}"#; 10_000].join(","));
    assert_eq!(value("data.a.all(line, line.tags.all(tag, tag != 'z'))", &lines), "true");
}

#[test]
fn a_large_record_is_worked_out_in_reasonable_time() {
    // Near the largest that the budget lets through, in an unoptimised build.
    let record = format!(r#"{{"a": [{}]}}"#, vec!["1"; 200].join(","));
    let start = std::time::Instant::now();
    let _ = value("data.a.all(x, data.a.all(y, x == y))", &record);
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn the_deepest_that_is_taken_needs_little_stack() {
    let deep_record = format!(r#"{{"a": {}{}, "s": "x"}}"#, "[".repeat(63), "]".repeat(63));
    let deepest = |open: &str, inner: &str, close: &str| {
        let at = |depth: usize| open.repeat(depth) + inner + &close.repeat(depth);
        let depth = [48, 47, 46, 24, 23, 16, 12, 9, 6, 3]
            .into_iter()
            .find(|depth| Expression::compile(&at(*depth)).is_ok())
            .expect("one that is taken");
        at(depth)
    };
    let expressions = [
        deepest("[", "data.a", "]"),
        deepest("string(", "data.s", ")"),
        deepest("(true ? ", "data.s", " : 'n')"),
        deepest("{'k': ", "data", "}"),
        deepest("[1].map(x, ", "data.a", ")"),
        deepest("[1].exists(x, ", "true", ")"),
        deepest("optional.of(", "1", ")"),
        deepest("-", "data.s", ""),
        deepest("", "1", " + 1"),
        deepest("", "data.s", ".trim()"),
        "data".to_owned(),
        "data.a == data.a".to_owned(),
    ];
    // The threads of the program have two mebibytes.
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for expression in &expressions {
            let expression = Expression::compile(expression).unwrap();
            let message = message(&deep_record);
            let _ = expression.value(&Scope::new(&message, whence(), None));
        }
    });
    worker.unwrap().join().unwrap();
}
