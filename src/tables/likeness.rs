//! How much a field's path and a column's name are alike: case, snake and camel, plurals, prefixes and abbreviations count
//! for little, another word for much. What a word means is not known here.

/// Longest path and column that are compared, in bytes: comparing is quadratic, and no database has longer names.
const LONGEST_BYTES: usize = 512;
/// Names below this are not the same thing.
pub const THRESHOLD: f64 = 0.7;

/// Prefixes that only say what kind of thing a column is.
const KIND_PREFIXES: [&str; 12] = ["col", "dt", "f", "fld", "int", "is", "n", "num", "str", "txt", "v", "val"];
/// Short forms that no rule makes.
const SHORT: [(&str, &str); 8] = [
    ("no", "number"),
    ("nr", "number"),
    ("num", "number"),
    ("id", "identifier"),
    ("dob", "birthdate"),
    ("tel", "phone"),
    ("pic", "picture"),
    ("cat", "category"),
];

/// How alike a path and a column are, from 0 to 1, and in what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// 1 is the same name.
    pub score: f64,
    /// Why, in a few words.
    pub why: &'static str,
}

/// Compares the names along a path with a column's. `context` are names that may stand before either without meaning more:
/// the table's, the topic's.
#[must_use]
pub fn likeness(path: &[String], column: &str, context: &[&str]) -> Likeness {
    let Some(last) = path.last() else { return Likeness { score: 0.0, why: "" } };
    let depth = path.len();
    if depth == 1 && last == column {
        return Likeness { score: 1.0, why: "the same name" };
    }
    if column.len() > LONGEST_BYTES || path.iter().map(String::len).sum::<usize>() > LONGEST_BYTES {
        return Likeness { score: 0.0, why: "" };
    }
    let (full, leaf, wanted): (Vec<_>, _, _) =
        (path.iter().flat_map(|name| words(name)).collect(), words(last), words(column));
    if full.is_empty() || wanted.is_empty() {
        return Likeness { score: 0.0, why: "" };
    }
    let (bare_leaf, bare_wanted) = (without_context(&leaf, context), without_context(&wanted, context));
    let deeper = 0.02 * f64::from(u8::try_from(depth.saturating_sub(1).min(5)).unwrap_or(5));
    let nested = depth > 1;
    let ifs = [
        (!nested && last.eq_ignore_ascii_case(column), 0.99, "the same name in another case"),
        (!nested && leaf == wanted, 0.97, "the same words"),
        (nested && full == wanted, 0.95, "the path's words"),
        (nested && full.ends_with(&wanted) && wanted.len() > 1, 0.88, "the end of the path"),
        (bare_wanted == bare_leaf && !nested, 0.88, "the same but for the table's name"),
        (nested && leaf == wanted, 0.84 - deeper, "the last part of the path"),
        (nested && ends_with_some_of(&full, &wanted), 0.84 - deeper, "words of the path"),
        (nested && bare_wanted == leaf, 0.80 - deeper, "the last part of the path, but for the table's name"),
        (without_kind(&wanted) == Some(&leaf[..]) && !nested, 0.80, "the same but for a prefix"),
    ];
    let certain = ifs.into_iter().find(|(holds, ..)| *holds).map(|(_, score, why)| Likeness { score, why });
    let words = 0.86 * alike(&full, &wanted).max(if nested { alike(&leaf, &wanted) - 0.05 } else { 0.0 });
    let words = words.max(if nested { 0.0 } else { 0.84 * alike(bare_leaf, bare_wanted) });
    let spelled = strsim::jaro_winkler(&full.concat(), &wanted.concat());
    let numbers = |of: &[String]| of.iter().filter(|word| word.parse::<u64>().is_ok()).cloned().collect::<Vec<_>>();
    let may_be_a_slip = first_letters(&full, &wanted) && numbers(&full) == numbers(&wanted);
    let spelled = if spelled >= 0.92 && may_be_a_slip { 0.85 * spelled } else { 0.0 };
    let fuzzy = if words >= spelled {
        Likeness { score: words, why: "similar words" }
    } else {
        Likeness { score: spelled, why: "a similar spelling" }
    };
    certain.filter(|certain| certain.score >= fuzzy.score).unwrap_or(fuzzy)
}

/// A name's words in lower case, each in the singular: `CustomerIDs`, `customer-ids` and `customer_id` are alike.
#[must_use]
pub fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let letters: Vec<char> = name.chars().collect();
    for (place, letter) in letters.iter().enumerate() {
        let before = place.checked_sub(1).map(|place| letters[place]);
        let begins = before.is_some_and(|before| {
            // `carName`, `HTTPServer`, `line2`
            letter.is_uppercase() && (before.is_lowercase() || before.is_numeric())
                || letter.is_uppercase() && before.is_uppercase() && letters.get(place + 1).is_some_and(|next| next.is_lowercase())
                    // The plural of an abbreviation, `IDs`, is no word of its own.
                    && !(letters.get(place + 1) == Some(&'s') && letters.get(place + 2).is_none_or(|after| !after.is_lowercase()))
                || letter.is_numeric() != before.is_numeric()
        });
        if (begins || !letter.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words.iter().map(|word| singular(word)).collect()
}

fn singular(word: &str) -> String {
    let stem = |end: &str, instead: &str| word.strip_suffix(end).map(|stem| format!("{stem}{instead}"));
    if word.chars().count() <= 2 || ["ss", "us", "is"].iter().any(|end| word.ends_with(end)) {
        return word.to_owned();
    }
    let long = word.chars().count() > 4;
    let plural = if long { stem("ies", "y") } else { None };
    let hissing = || {
        ["sses", "xes", "ches", "shes", "zes"].iter().any(|end| word.ends_with(end)).then(|| stem("es", "")).flatten()
    };
    plural.or_else(hissing).or_else(|| stem("s", "")).unwrap_or_else(|| word.to_owned())
}

/// The words without a leading name of the context, where something is left.
fn without_context<'w>(of: &'w [String], context: &[&str]) -> &'w [String] {
    let names = context.iter().map(|name| words(name.rsplit('.').next().unwrap_or(name)));
    let rest = names
        .filter(|name| !name.is_empty() && of.len() > name.len() && of.starts_with(name))
        .map(|name| name.len())
        .max();
    &of[rest.unwrap_or(0)..]
}

fn without_kind(of: &[String]) -> Option<&[String]> {
    let (first, rest) = of.split_first()?;
    (KIND_PREFIXES.contains(&first.as_str()) && !rest.is_empty()).then_some(rest)
}

/// Whether the wanted words stand in the path in their order, the last one at its end.
fn ends_with_some_of(path: &[String], wanted: &[String]) -> bool {
    let mut path = path.iter().rev();
    let mut wanted = wanted.iter().rev();
    if wanted.len() < 2 || path.next() != wanted.next() {
        return false;
    }
    wanted.all(|word| path.any(|other| other == word))
}

/// How much of both is in the other, from 0 to 1.
fn alike(left: &[String], right: &[String]) -> f64 {
    let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    let mut free: Vec<&String> = long.iter().collect();
    let mut sum = 0.0;
    for word in short {
        let scored = free.iter().enumerate().map(|(place, other)| (alike_words(word, other), place));
        if let Some((score, place)) = scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.0) {
            sum += score;
            free.swap_remove(place);
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "a name has few words")]
    let all = (left.len() + right.len()) as f64;
    2.0 * sum / all
}

fn alike_words(left: &str, right: &str) -> f64 {
    if left == right {
        return 1.0;
    }
    let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    let listed = SHORT.iter().any(|(one, other)| (*one, *other) == (short, long));
    if listed || short.chars().count() >= 3 && long.starts_with(short) || is_skeleton(short, long) {
        return 0.95;
    }
    let spelled = strsim::jaro_winkler(left, right);
    if short.chars().count() >= 4 && spelled >= 0.9 { 0.9 * spelled } else { 0.0 }
}

/// `qty` of `quantity`, `mgr` of `manager`: the same first and last letters and no vowels in between.
fn is_skeleton(short: &str, long: &str) -> bool {
    let mut letters = short.chars();
    let consonants = letters.next().is_some() && letters.all(|letter| !"aeiou".contains(letter));
    let mut rest = long.chars();
    consonants
        && short.chars().count() >= 2
        && short.chars().next() == long.chars().next()
        && short.chars().last() == long.chars().last()
        && short.chars().all(|letter| rest.any(|other| other == letter))
}

fn first_letters(left: &[String], right: &[String]) -> bool {
    left.first().and_then(|word| word.chars().next()) == right.first().and_then(|word| word.chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(path: &str, column: &str) -> f64 {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        likeness(&path, column, &["public.cars", "car"]).score
    }

    #[test]
    fn names_fall_apart_into_words() {
        for (name, expected) in [
            ("customerName", "customer name"),
            ("CUSTOMER_NAME", "customer name"),
            ("HTTPServerURL", "http server url"),
            ("customer-ids", "customer id"),
            ("CustomerIDs", "customer id"),
            ("address2", "address 2"),
            ("categories", "category"),
            ("boxes", "box"),
            ("status", "status"),
            ("addresses", "address"),
            ("price in Rp.", "price in rp"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), expected, "{name}");
        }
    }

    #[test]
    fn the_same_thing_in_other_words_is_found() {
        for (path, column) in [
            ("stock", "stock"),
            ("Stock", "stock"),
            ("carName", "car_name"),
            ("name", "car_name"),
            ("car_name", "name"),
            ("customer.address.city", "customer_city"),
            ("customer.address.city", "customer_address_city"),
            ("customer.address.city", "address_city"),
            ("customer.address.city", "city"),
            ("qty", "quantity"),
            ("description", "desc"),
            ("items_count", "item_counts"),
            ("costumer_name", "customer_name"),
            ("phone_number", "phone_no"),
            ("price", "str_price"),
            ("categories", "category"),
        ] {
            assert!(score(path, column) >= THRESHOLD, "{path} ~ {column}: {}", score(path, column));
        }
    }

    #[test]
    fn another_thing_is_not() {
        for (path, column) in [
            ("stock", "colour"),
            ("price", "sale_price_rate"),
            ("price", "practice"),
            ("id", "customer_id"),
            ("name", "customer_name"),
            ("created_at", "updated_at"),
            ("first_name", "last_name"),
            ("address1", "address2"),
            ("cost", "count"),
            ("customer.name", "id"),
            ("", "id"),
        ] {
            assert!(score(path, column) < THRESHOLD, "{path} ~ {column}: {}", score(path, column));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_two_names_have_a_likeness(path in proptest::collection::vec("\\PC{0,12}", 0..4), column in "\\PC{0,20}") {
            let likeness = likeness(&path, &column, &["cars", ""]);
            proptest::prop_assert!((0.0..=1.0).contains(&likeness.score), "{likeness:?}");
        }
    }

    #[test]
    fn what_is_nearer_scores_higher() {
        let falling = [
            score("stock", "stock"),
            score("STOCK", "stock"),
            score("stocks", "stock"),
            score("a.stock_level", "stock_level"),
            score("a.stock", "stock"),
            score("a.b.stock", "stock"),
        ];
        assert!(falling.is_sorted_by(|left, right| left > right), "{falling:?}");
    }
}
