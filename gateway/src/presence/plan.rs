//! What is to be said of users whose status has changed, and to whom. Pure.

use std::collections::{HashMap, HashSet};

use confab_shared::id::{NodeId, UserId};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::contacts::Circle;
use confab_shared::redis::presence::{Look, Owed};

use crate::backplane::{StatusChange, Statuses};

/// The most people whom one message tells of something.
const RECIPIENTS: usize = 2_000;

/// What is to be said, and to whom.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) messages: Vec<(NodeId, Statuses)>,
    pub(super) last_seen: Vec<(UserId, Timestamp)>,
    pub(super) changes: u64,
    pub(super) told: u64,
}

/// What is to be said of these, and to whom.
pub(super) fn plan(
    owed: &[Owed],
    circles: &[Circle],
    hidden: &HashSet<UserId>,
    look: &Look,
) -> Plan {
    let connected: Vec<Vec<UserId>> = circles
        .iter()
        .map(|circle| {
            let members = circle.members.iter().copied();
            members
                .filter(|member| look.is_connected(*member))
                .collect()
        })
        .collect();
    let mut circles_of: HashMap<UserId, Vec<usize>> = HashMap::new();
    for (index, circle) in circles.iter().enumerate() {
        for user in &circle.asked {
            circles_of.entry(*user).or_default().push(index);
        }
    }
    let (mut plan, mut letters) = (Plan::default(), HashMap::<NodeId, Letters>::new());
    for owed in owed {
        let is_hidden = hidden.contains(&owed.user);
        if is_hidden && !owed.by_will {
            // Offline before and after: that something has changed is nobody's business.
            continue;
        }
        let at = Timestamp::from_micros(owed.since);
        if !owed.is_connected && !is_hidden {
            plan.last_seen.push((owed.user, at));
        }
        let mut contacts: Vec<UserId> = circles_of
            .get(&owed.user)
            .into_iter()
            .flatten()
            .flat_map(|index| &connected[*index])
            .copied()
            .filter(|contact| *contact != owed.user)
            .collect();
        contacts.sort_unstable();
        contacts.dedup();
        plan.changes += 1;
        let mut by_node: HashMap<NodeId, Vec<UserId>> = HashMap::new();
        for contact in contacts {
            for node in look.nodes(contact) {
                by_node.entry(*node).or_default().push(contact);
                plan.told += 1;
            }
        }
        for (node, to) in by_node {
            for to in to.chunks(RECIPIENTS) {
                letters.entry(node).or_default().add(StatusChange {
                    user: owed.user,
                    is_online: owed.is_connected && !is_hidden,
                    at,
                    position: owed.position,
                    to: to.to_vec(),
                });
            }
        }
    }
    for (node, letters) in letters {
        plan.messages
            .extend(letters.sealed.into_iter().map(|letter| (node, letter)));
    }
    plan
}

/// What one node is told: messages of a bounded size.
#[derive(Debug, Default)]
struct Letters {
    sealed: Vec<Statuses>,
    recipients: usize,
}

impl Letters {
    fn add(&mut self, change: StatusChange) {
        self.recipients += change.to.len();
        match self.sealed.last_mut() {
            Some(open) if self.recipients <= RECIPIENTS => open.statuses.push(change),
            _ => {
                self.recipients = change.to.len();
                let statuses = vec![change];
                self.sealed.push(Statuses { statuses });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user who has come, or gone, at second 7.
    fn owed(user: UserId, is_connected: bool, mark: &str) -> Owed {
        Owed::read(user, 9_000_000, is_connected, &format!("7000000{mark}")).unwrap()
    }

    fn look(connected: &[(UserId, &[NodeId])]) -> Look {
        let mut look = Look::default();
        for (user, nodes) in connected {
            look.note(*user, 9_000_000, nodes.to_vec());
        }
        look
    }

    fn told(plan: &Plan, node: NodeId) -> Vec<(UserId, bool, Vec<UserId>)> {
        let letters = plan.messages.iter().filter(|(to, _)| *to == node);
        let changes = letters.flat_map(|(_, letter)| &letter.statuses);
        changes
            .map(|change| (change.user, change.is_online, change.to.clone()))
            .collect()
    }

    #[test]
    fn each_contact_is_told_once_on_every_node_that_has_it() {
        let [ann, ben, cat, dan] = std::array::from_fn(|_| UserId::generate());
        let [one, other] = std::array::from_fn(|_| NodeId::generate());
        let circles = [
            Circle {
                asked: vec![ann],
                members: vec![ann, ben, cat],
            },
            Circle {
                asked: vec![ann, dan],
                members: vec![ann, ben, dan],
            },
        ];
        let look = look(&[(ann, &[one]), (ben, &[one, other])]);
        let owed = [owed(ann, true, ""), owed(dan, false, "")];
        let plan = plan(&owed, &circles, &HashSet::new(), &look);
        let mut here = told(&plan, one);
        here[1].2.sort_unstable();
        let mut both = vec![ann, ben];
        both.sort_unstable();
        assert_eq!(here, [(ann, true, vec![ben]), (dan, false, both)]);
        assert_eq!(
            told(&plan, other),
            [(ann, true, vec![ben]), (dan, false, vec![ben])]
        );
        assert_eq!(plan.last_seen, [(dan, Timestamp::from_micros(7_000_000))]);
        assert_eq!((plan.changes, plan.told), (2, 5));
    }

    #[test]
    fn of_who_is_hidden_only_the_hiding_is_told() {
        let [ann, ben] = std::array::from_fn(|_| UserId::generate());
        let node = NodeId::generate();
        let circles = [Circle {
            asked: vec![ann],
            members: vec![ann, ben],
        }];
        let look = look(&[(ann, &[node]), (ben, &[node])]);
        let hidden = HashSet::from([ann]);
        for is_connected in [true, false] {
            let silent = plan(&[owed(ann, is_connected, "")], &circles, &hidden, &look);
            assert!(silent.messages.is_empty() && silent.last_seen.is_empty());
            let plan = plan(&[owed(ann, is_connected, "v")], &circles, &hidden, &look);
            assert_eq!(told(&plan, node), [(ann, false, vec![ben])]);
            assert!(
                plan.last_seen.is_empty(),
                "it would tell that they were there"
            );
        }
    }

    #[test]
    fn messages_are_bounded() {
        let ann = UserId::generate();
        let node = NodeId::generate();
        let members: Vec<UserId> = (0..RECIPIENTS * 2 + 7)
            .map(|_| UserId::generate())
            .collect();
        let nodes = [node];
        let connected: Vec<_> = members.iter().map(|user| (*user, &nodes[..])).collect();
        let circles = [Circle {
            asked: vec![ann],
            members: members.clone(),
        }];
        let look = look(&connected);
        let plan = plan(&[owed(ann, true, "")], &circles, &HashSet::new(), &look);
        assert_eq!(plan.messages.len(), 3);
        let told: Vec<UserId> = told(&plan, node)
            .into_iter()
            .flat_map(|(_, _, to)| to)
            .collect();
        assert_eq!(told.len(), members.len());
        for (_, letter) in &plan.messages {
            let recipients: usize = letter.statuses.iter().map(|change| change.to.len()).sum();
            assert!(recipients <= RECIPIENTS);
        }
    }
}
