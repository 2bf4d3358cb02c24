#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::{collection::vec, option, prelude::*, string::string_regex};
use tidegate_actors::{message::Action, ports::NewRecord};

use super::*;
use redis::ToRedisArgs as _;

use crate::redis::stream::entry::{Packed, fields};

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

type Raw = (StreamId, Vec<(Vec<u8>, Vec<u8>)>);

/// As Redis sends it.
fn encoded(entries: &[Raw]) -> Vec<u8> {
    let mut out = b"*1\r\n*2\r\n".to_vec();
    bulk(&mut out, b"tidegate:{app}:stream");
    out.extend_from_slice(format!("*{}\r\n", entries.len()).as_bytes());
    for (id, fields) in entries {
        out.extend_from_slice(b"*2\r\n");
        bulk(&mut out, id.to_string().as_bytes());
        out.extend_from_slice(format!("*{}\r\n", fields.len() * 2).as_bytes());
        for (name, value) in fields {
            bulk(&mut out, name);
            bulk(&mut out, value);
        }
    }
    out
}

/// What the crate's own tree gives.
fn by_tree(bytes: &[u8]) -> Vec<Entry> {
    let Value::Array(mut streams) = redis::parse_redis_value(bytes).unwrap() else { panic!("no array") };
    let Some(Value::Array(mut parts)) = streams.pop() else { panic!("no stream") };
    let Some(Value::Array(entries)) = parts.pop() else { panic!("no entries") };
    entries.into_iter().map(|entry| parse(entry).unwrap()).collect()
}

/// Fed in pieces that end at these places.
fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<(Answer, BytesMut), LogError> {
    let (mut answer, mut buffer) = (Answer::new(10, usize::MAX), BytesMut::new());
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut from = 0;
    for cut in cuts {
        buffer.extend_from_slice(&bytes[from..cut]);
        from = cut;
        let all = answer.take(&mut buffer)?;
        assert!(!all || from == bytes.len(), "ended too early");
    }
    Ok((answer, buffer))
}

fn record() -> impl Strategy<Value = NewRecord> {
    let text = || string_regex(".{0,40}").unwrap();
    let sent = (0..4_usize, text(), option::of(string_regex(".{1,20}").unwrap()));
    let beside = (option::of(string_regex(".{1,20}").unwrap()), option::of(string_regex(".{1,60}").unwrap()), text());
    (sent, beside).prop_map(|((action, topic, key), (own_id, traceparent, data))| NewRecord {
        topic: topic.into(),
        action: Action::ALL[action],
        key: key.map(Into::into),
        own_id: own_id.map(Into::into),
        traceparent: traceparent.map(Into::into),
        data: data.into(),
    })
}

fn flat(record: &NewRecord) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = |value: &Packed<'_>| value.to_redis_args().concat();
    fields(record).iter().map(|(name, packed)| (name.as_bytes().to_vec(), value(packed))).collect()
}

/// As the first version of the format had it.
fn first_version(record: &NewRecord) -> Vec<(Vec<u8>, Vec<u8>)> {
    let optional = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
    let action = ["i", "p", "u", "d"][Action::ALL.iter().position(|action| *action == record.action).unwrap()];
    let values: [(&str, String); 7] = [
        ("v", "1".into()),
        ("t", record.topic.to_string()),
        ("a", action.into()),
        ("k", optional(&record.key)),
        ("i", optional(&record.own_id)),
        ("p", optional(&record.traceparent)),
        ("d", record.data.to_string()),
    ];
    values.map(|(name, value)| (name.into(), value.into())).to_vec()
}

/// Ours; and those that a hand, another version or an accident made.
fn raw() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let ours = record().prop_map(|record| flat(&record)).boxed();
    let before = record().prop_map(|record| first_version(&record)).boxed();
    let bytes = || vec(any::<u8>(), 0..12);
    let spoilt = |of: BoxedStrategy<Vec<(Vec<u8>, Vec<u8>)>>| {
        (of, any::<prop::sample::Index>(), bytes()).prop_map(|(mut fields, place, value)| {
            let place = place.index(fields.len());
            fields[place] = (fields[place].0.clone(), value);
            fields
        })
    };
    let turned = (before.clone(), 0..7_usize, 0..7_usize).prop_map(|(mut fields, one, other)| {
        fields.swap(one, other);
        fields
    });
    let fewer = (before.clone(), 0..7_usize).prop_map(|(mut fields, place)| {
        fields.remove(place);
        fields
    });
    let cut = (ours.clone(), any::<prop::sample::Index>()).prop_map(|(mut fields, at)| {
        let value = &mut fields[0].1;
        value.truncate(at.index(value.len()));
        fields
    });
    let (one, other) = (spoilt(ours.clone()), spoilt(before.clone()));
    prop_oneof![6 => ours, 2 => before, 1 => one, 1 => other, 1 => turned, 1 => fewer, 1 => cut, 1 => vec((bytes(), bytes()), 0..5)]
}

fn entries() -> impl Strategy<Value = Vec<Raw>> {
    vec(((any::<u64>(), any::<u64>()).prop_map(|(ms, seq)| StreamId::new(ms, seq)), raw()), 0..6)
}

proptest! {
    #[test]
    fn any_entries_cut_anywhere_come_out_as_from_the_tree(entries in entries(), cuts in vec(any::<usize>(), 0..8)) {
        let bytes = encoded(&entries);
        let (answer, rest) = in_pieces(&bytes, &cuts).unwrap();
        prop_assert_eq!(&answer.entries, &by_tree(&bytes));
        prop_assert_eq!((answer.came, answer.left), (entries.len(), Some(0)));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn every_record_comes_back_as_it_was(record in record(), ms in any::<u64>()) {
        let bytes = encoded(&[(StreamId::new(ms, 3), flat(&record))]);
        let (answer, _) = in_pieces(&bytes, &[]).unwrap();
        let Entry::Message(message) = &answer.entries[0] else { panic!("not understood") };
        let message = (**message).clone();
        prop_assert_eq!(message.id, StreamId::new(ms, 3));
        prop_assert_eq!(
            (message.topic, message.action, message.key, message.own_id, message.traceparent, message.data),
            (record.topic, record.action, record.key, record.own_id, record.traceparent, record.data)
        );
    }

    #[test]
    fn garbage_is_an_error_or_waited_for_and_never_a_panic(
        entries in entries(), cuts in vec(any::<usize>(), 0..4), place in any::<usize>(), noise in vec(any::<u8>(), 1..6)
    ) {
        let mut bytes = encoded(&entries);
        let place = place % bytes.len();
        let end = (place + noise.len()).min(bytes.len());
        bytes[place..end].copy_from_slice(&noise[..end - place]);
        let mut buffer = BytesMut::new();
        let mut answer = Answer::new(10, usize::MAX);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let mut from = 0;
        for cut in cuts {
            buffer.extend_from_slice(&bytes[from..cut]);
            from = cut;
            if answer.take(&mut buffer).unwrap_or(true) {
                break;
            }
        }
    }
}

#[test]
fn our_own_entries_take_the_quick_way() {
    let record = NewRecord {
        topic: "cars".into(),
        action: Action::Delete,
        key: None,
        own_id: Some("x".into()),
        traceparent: None,
        data: "{}".into(),
    };
    let whole = encoded(&[(StreamId::new(1_763_775_403_123, 7), flat(&record))]);
    // The last is the head of its fields, the one before it its own.
    let pairs: Vec<usize> = (0..whole.len()).filter(|at| whole[*at..].starts_with(b"*2\r\n")).collect();
    let entry = &whole[pairs[pairs.len() - 2]..];
    let (entry_read, passed) = quick(entry).unwrap();
    assert_eq!((entry_read.id(), passed), (StreamId::new(1_763_775_403_123, 7), entry.len()));
    for end in 0..entry.len() {
        assert_eq!(quick(&entry[..end]), Err(Stop::Short), "what is not all there is waited for");
    }
}

#[test]
fn nothing_and_a_refusal_are_told() {
    for nothing in ["*-1\r\n", "$-1\r\n", "*0\r\n"] {
        let mut answer = Answer::new(10, usize::MAX);
        assert!(answer.take(&mut BytesMut::from(nothing)).unwrap(), "{nothing:?}");
        assert!(answer.entries.is_empty());
    }
    let refused = Answer::new(10, usize::MAX).take(&mut BytesMut::from("-NOPERM no xread\r\n")).unwrap_err();
    assert!(refused.to_string().contains("this user may not do it"), "{refused}");
    let odd = Answer::new(10, usize::MAX).take(&mut BytesMut::from(":7\r\n")).unwrap_err();
    assert!(odd.to_string().contains("can't be understood"), "{odd}");
}

#[test]
fn what_is_too_much_is_passed_over_and_counted() {
    let large = vec![(b"v".to_vec(), vec![b'x'; 1000])];
    let entries: Vec<Raw> = (1..=10).map(|ms| (StreamId::new(ms, 0), large.clone())).collect();
    let mut answer = Answer::new(10, 200);
    let mut buffer = BytesMut::from(&encoded(&entries)[..]);
    buffer.extend_from_slice(b"+OK\r\n");
    assert!(answer.take(&mut buffer).unwrap());
    assert_eq!(answer.came, 10);
    assert!((1..5).contains(&answer.entries.len()), "{}", answer.entries.len());
    assert_eq!(&buffer[..], b"+OK\r\n", "the next answer is untouched");
    // A lying number of entries holds nothing ready.
    let mut answer = Answer::new(10, 200);
    assert!(!answer.take(&mut BytesMut::from("*1\r\n*2\r\n$1\r\ns\r\n*400000000\r\n")).unwrap());
    assert!(answer.entries.capacity() <= 16);
}
