//! Which node is to write which destination: evenly over the live nodes, with as few moves as that takes.
//!
//! Every node works this out for itself from the same list of members; the lease in the log decides where two lists
//! differ for a moment. So a wrong answer costs a move, never a record. Pure: called after every heartbeat.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    fnv,
    route::{DeliveryMode, Topology},
};

/// A node that has been heard of within the lease's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// A random token of this run of the program: a node that is started again is another member.
    pub instance: Arc<str>,
    /// The node's name.
    pub node: Arc<str>,
    /// The version of the program.
    pub version: String,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// It is about to stop, and is given nothing as long as another is there.
    #[serde(default)]
    pub draining: bool,
    /// The ids of the destinations whose lease it holds.
    #[serde(default)]
    pub holds: BTreeSet<Arc<str>>,
    /// The ids of the destinations that it tried to reach in vain not long ago, and since when they are down as far as is
    /// known, in milliseconds since the Unix epoch: another node is to try, if there is one that has not.
    #[serde(default)]
    pub cannot_reach: BTreeMap<Arc<str>, u64>,
}

/// What one node makes of the members: what it is to write, and who writes the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Ids of the destinations that this node is to write.
    pub mine: BTreeSet<Arc<str>>,
    /// Who holds the lease of which destination, by its id: names of nodes.
    pub holders: BTreeMap<Arc<str>, Arc<str>>,
    /// Since when a destination is down that some node cannot reach, by its id, in milliseconds since the Unix epoch.
    pub down_since_ms: BTreeMap<Arc<str>, u64>,
}

impl Assignment {
    /// What `instance` is to do, given all members.
    #[must_use]
    pub fn of(instance: &str, members: &[Member], topology: &Topology) -> Self {
        let placed = place(members, topology);
        let mine = placed.into_iter().filter(|(_, to)| **to == *instance).map(|(id, _)| id).collect();
        let holds = |member: &Member| {
            let node = Arc::clone(&member.node);
            member.holds.iter().map(move |id| (Arc::clone(id), Arc::clone(&node))).collect::<Vec<_>>()
        };
        let mut down_since_ms = BTreeMap::new();
        for (id, since) in members.iter().flat_map(|member| &member.cannot_reach) {
            let first = down_since_ms.entry(Arc::clone(id)).or_insert(*since);
            *first = (*first).min(*since);
        }
        Self { mine, holders: members.iter().flat_map(holds).collect(), down_since_ms }
    }
}

/// Every ordered destination with the instance that is to write it. One that belongs to a node which is not there is left
/// out. No two nodes differ by more than one, as far as that is left open by destinations that belong to a node or that
/// only some nodes reach.
#[must_use]
pub fn place(members: &[Member], topology: &Topology) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut able: Vec<&Member> = members.iter().filter(|member| !member.draining).collect();
    if able.is_empty() {
        able = members.iter().collect();
    }
    able.sort_by(|a, b| a.instance.cmp(&b.instance));
    able.dedup_by(|a, b| a.instance == b.instance);
    let ordered = topology.destinations.iter().filter(|destination| destination.mode == DeliveryMode::Ordered);
    let mut placed = BTreeMap::new();
    let mut loads = vec![0_usize; able.len()];
    let mut free: Vec<&Arc<str>> = Vec::new();
    let mut ordered: Vec<_> = ordered.collect();
    ordered.sort_by(|a, b| a.id.cmp(&b.id));
    // First those that not every node can write: they stay where they are as long as that is one that can.
    for destination in ordered {
        let (id, node) = (&destination.id, destination.node.as_deref());
        let ours: Vec<usize> = (0..able.len()).filter(|&at| node.is_none_or(|node| *node == *able[at].node)).collect();
        let tries = |&at: &usize| !able[at].cannot_reach.contains_key(id);
        let reaching: Vec<usize> = ours.iter().copied().filter(tries).collect();
        let candidates = if reaching.is_empty() { ours } else { reaching };
        if candidates.len() == able.len() {
            free.push(id);
            continue;
        }
        let held = |at: usize| able[at].holds.contains(id);
        let best = candidates.into_iter().min_by_key(|&at| (!held(at), loads[at], u64::MAX - affinity(id, able[at])));
        let Some(at) = best else {
            // Nobody else may write it: a node that is about to stop goes on until it does.
            let last = members.iter().filter(|member| node.is_some_and(|node| *node == *member.node));
            if let Some(member) = last.min_by_key(|member| (!member.holds.contains(id), Arc::clone(&member.instance))) {
                placed.insert(Arc::clone(id), Arc::clone(&member.instance));
            }
            continue;
        };
        loads[at] += 1;
        placed.insert(Arc::clone(id), Arc::clone(&able[at].instance));
    }
    if able.is_empty() {
        return placed;
    }

    // The shares first: one by one to whoever has least, and among equals to whoever holds most already.
    let held = |at: usize| loads[at] + free.iter().filter(|id| able[at].holds.contains(**id)).count();
    let holding: Vec<usize> = (0..able.len()).map(held).collect();
    let mut room = vec![0_usize; able.len()];
    for _ in 0..free.len() {
        let least = (0..able.len()).min_by_key(|&at| (loads[at], usize::MAX - holding[at], at)).unwrap_or(0);
        (loads[least], room[least]) = (loads[least] + 1, room[least] + 1);
    }
    // What is held stays where there is room for it; the rest goes where there is room left.
    let mut homeless = Vec::new();
    for id in free {
        let holder = (0..able.len()).filter(|&at| able[at].holds.contains(id) && room[at] > 0);
        match holder.max_by_key(|&at| affinity(id, able[at])) {
            Some(at) => {
                room[at] -= 1;
                placed.insert(Arc::clone(id), Arc::clone(&able[at].instance));
            }
            None => homeless.push(id),
        }
    }
    for id in homeless {
        let free_at = (0..able.len()).filter(|&at| room[at] > 0);
        let Some(at) = free_at.max_by_key(|&at| affinity(id, able[at])) else { continue };
        room[at] -= 1;
        placed.insert(Arc::clone(id), Arc::clone(&able[at].instance));
    }
    placed
}

/// Rendezvous hashing: different for every pair, and the same in every build of the program, since nodes that are being
/// upgraded one by one must agree (FNV-1a, 64 bits).
fn affinity(id: &str, member: &Member) -> u64 {
    fnv::hash(format!("{id}\0{}", member.instance).as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::route::DestinationSpec;

    fn member(instance: &str, holds: &[&str]) -> Member {
        Member {
            instance: instance.into(),
            node: instance.split('#').next().unwrap().into(),
            version: String::new(),
            started_ms: 0,
            draining: false,
            holds: holds.iter().map(|id| Arc::from(*id)).collect(),
            cannot_reach: BTreeMap::new(),
        }
    }

    fn cut_off(member: Member, from: &[(&str, u64)]) -> Member {
        Member { cannot_reach: from.iter().map(|(id, since)| (Arc::from(*id), *since)).collect(), ..member }
    }

    fn topology(ids: &[(&str, Option<&str>)]) -> Topology {
        let spec = |(id, node): &(&str, Option<&str>)| {
            Arc::new(DestinationSpec {
                id: (*id).into(),
                name: (*id).into(),
                revision: 1,
                mode: DeliveryMode::Ordered,
                node: node.map(Into::into),
                by_hand: Default::default(),
                routes: Vec::new(),
            })
        };
        Topology { version: 1, installation: "i".into(), destinations: ids.iter().map(spec).collect() }
    }

    fn free(count: usize) -> Topology {
        let ids: Vec<_> = (0..count).map(|at| format!("d{at:02}")).collect();
        topology(&ids.iter().map(|id| (id.as_str(), None)).collect::<Vec<_>>())
    }

    fn shares(members: &[Member], placed: &BTreeMap<Arc<str>, Arc<str>>) -> Vec<usize> {
        let of = |member: &Member| placed.values().filter(|to| **to == member.instance).count();
        members.iter().map(of).collect()
    }

    /// After everyone has what was placed.
    fn settled(members: &[Member], topology: &Topology) -> Vec<Member> {
        let placed = place(members, topology);
        let holds = |member: &Member| {
            let mine = placed.iter().filter(|(_, to)| **to == member.instance);
            Member { holds: mine.map(|(id, _)| Arc::clone(id)).collect(), ..member.clone() }
        };
        members.iter().map(holds).collect()
    }

    fn moves(before: &[Member], after: &[Member]) -> usize {
        let kept = |member: &Member| {
            let then = before.iter().find(|other| other.instance == member.instance);
            then.map_or(0, |then| then.holds.difference(&member.holds).count())
        };
        after.iter().map(kept).sum()
    }

    #[test]
    fn one_node_has_everything_and_none_has_nothing() {
        assert_eq!(shares(&[member("a", &[])], &place(&[member("a", &[])], &free(5))), [5]);
        assert!(place(&[], &free(5)).is_empty());
    }

    #[test]
    fn a_node_that_joins_gets_its_share_and_nothing_else_moves() {
        let one = settled(&[member("a", &[])], &free(5));
        let mut two = one.clone();
        two.push(member("b", &[]));
        let after = settled(&two, &free(5));
        assert_eq!((after[0].holds.len(), after[1].holds.len()), (3, 2));
        assert_eq!(moves(&two, &after), 2);
    }

    #[test]
    fn what_a_dead_node_had_goes_to_the_others_and_nothing_else_moves() {
        let three = settled(&[member("a", &[]), member("b", &[]), member("c", &[])], &free(9));
        let left = &three[1..];
        let after = settled(left, &free(9));
        assert_eq!(moves(left, &after), 0);
        assert_eq!(after.iter().map(|member| member.holds.len()).sum::<usize>(), 9);
    }

    #[test]
    fn a_draining_node_is_given_nothing_unless_it_is_alone() {
        let draining = Member { draining: true, ..member("a", &["d00", "d01"]) };
        assert_eq!(shares(std::slice::from_ref(&draining), &place(std::slice::from_ref(&draining), &free(2))), [2]);
        let both = [draining, member("b", &[])];
        assert_eq!(shares(&both, &place(&both, &free(2))), [0, 2]);
    }

    #[test]
    fn a_file_stays_with_its_node_and_weighs_like_the_others() {
        let topology = topology(&[("file", Some("a")), ("x", None), ("gone", Some("z")), ("y", None), ("w", None)]);
        let members = [member("a", &[]), member("b", &[])];
        let placed = place(&members, &topology);
        assert_eq!(placed["file" as &str].as_ref(), "a");
        assert!(!placed.contains_key("gone"));
        assert_eq!(shares(&members, &placed), [2, 2]);
    }

    #[test]
    fn a_file_is_written_while_its_node_drains_and_no_longer_once_that_is_back() {
        let topology = topology(&[("file", Some("a")), ("x", None)]);
        let draining = Member { draining: true, ..member("a#1", &["file", "x"]) };
        let members = [draining.clone(), member("b", &[])];
        let placed = place(&members, &topology);
        assert_eq!((placed["file" as &str].as_ref(), placed["x" as &str].as_ref()), ("a#1", "b"));
        let placed = place(&[draining, member("b", &[]), member("a#2", &[])], &topology);
        assert_eq!(placed["file" as &str].as_ref(), "a#2");
    }

    #[test]
    fn what_one_node_cannot_reach_goes_to_one_that_may() {
        let members = [cut_off(member("a", &["d00", "d01"]), &[("d00", 7)]), member("b", &["d02", "d03"])];
        let placed = place(&members, &free(4));
        assert_eq!(placed["d00" as &str].as_ref(), "b");
        assert_eq!(placed["d01" as &str].as_ref(), "a");
        assert_eq!(Assignment::of("b", &members, &free(4)).down_since_ms["d00" as &str], 7);
    }

    #[test]
    fn what_no_node_can_reach_stays_where_it_is() {
        let members = [cut_off(member("a", &["d01"]), &[("d00", 7)]), cut_off(member("b", &["d00"]), &[("d00", 9)])];
        assert_eq!(place(&members, &free(2))["d00" as &str].as_ref(), "b");
        assert_eq!(Assignment::of("a", &members, &free(2)).down_since_ms["d00" as &str], 7);
    }

    #[test]
    fn two_runs_under_one_name_do_not_both_get_its_file() {
        let topology = topology(&[("file", Some("a"))]);
        let placed = place(&[member("a#1", &[]), member("a#2", &["file"])], &topology);
        assert_eq!(placed["file" as &str].as_ref(), "a#2");
    }

    #[test]
    fn every_node_knows_its_own_and_who_holds_the_rest() {
        let members = settled(&[member("a", &[]), member("b", &[])], &free(4));
        let (a, b) = (Assignment::of("a", &members, &free(4)), Assignment::of("b", &members, &free(4)));
        assert!(a.mine.is_disjoint(&b.mine));
        assert_eq!(a.mine.len() + b.mine.len(), 4);
        assert_eq!(a.holders, b.holders);
        assert_eq!(a.holders.len(), 4);
    }

    proptest! {
        #[test]
        fn shares_are_even_complete_and_stand_still(
            nodes in 1_usize..7, count in 0_usize..30, seed in prop::collection::vec((0_usize..7, 0_usize..30), 0..40),
            cut_off_from in prop::collection::vec((0_usize..7, 0_usize..30), 0..20),
        ) {
            let topology = free(count);
            let mut members: Vec<_> = (0..nodes).map(|at| member(&format!("n{at}"), &[])).collect();
            // Any belief about who holds what, doubles and strangers included.
            for (node, destination) in seed {
                members[node % nodes].holds.insert(format!("d{destination:02}").into());
            }
            let placed = place(&members, &topology);
            prop_assert_eq!(placed.len(), count);
            let shares = shares(&members, &placed);
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
            let settled_once = settled(&members, &topology);
            prop_assert_eq!(&settled(&settled_once, &topology), &settled_once);
            for (node, id) in cut_off_from {
                members[node % nodes].cannot_reach.insert(format!("d{id:02}").into(), 1);
            }
            let with_cuts = settled(&members, &topology);
            prop_assert_eq!(&settled(&with_cuts, &topology), &with_cuts);
            prop_assert_eq!(place(&members, &topology).len(), count);
            members.iter_mut().for_each(|member| member.cannot_reach.clear());
            members.reverse();
            prop_assert_eq!(place(&members, &topology), placed);
        }
    }
}
