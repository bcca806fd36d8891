//! Random histories: people connect and disconnect, want to be seen otherwise, gateways are killed and drained and replaced, Redis forgets. Whatever
//! happened, when things rest Redis and every watcher's view agree with the truth.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use confab_gateway::presence::Timing;
use confab_shared::id::UserId;
use fred::interfaces::ClientLike;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::watcher::Watcher;
use super::with_world_at;
use super::world::{Gateway, World, contacts, hurried, until};

const PEOPLE: usize = 10;
const GATEWAYS: usize = 3;
/// Many times what it takes, with all of presence's times at a tenth: a loaded machine is no fault.
const CONVERGED: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
enum Step {
    Connect {
        user: usize,
        gateway: usize,
        one_by_one: bool,
    },
    Disconnect {
        which: usize,
    },
    Kill {
        gateway: usize,
        come_back: bool,
    },
    Drain {
        gateway: usize,
        come_back: bool,
    },
    Appear {
        user: usize,
        gateway: usize,
        online: bool,
    },
    Forget,
    Wait {
        millis: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (user, gateway) = (0..PEOPLE, 0..GATEWAYS);
    let step = prop_oneof![
        10 => (user.clone(), gateway.clone(), any::<bool>())
            .prop_map(|(user, gateway, one_by_one)| Step::Connect { user, gateway, one_by_one }),
        8 => any::<usize>().prop_map(|which| Step::Disconnect { which }),
        1 => (gateway.clone(), any::<bool>()).prop_map(|(gateway, come_back)| Step::Kill { gateway, come_back }),
        1 => (gateway.clone(), any::<bool>()).prop_map(|(gateway, come_back)| Step::Drain { gateway, come_back }),
        2 => (user, gateway, any::<bool>()).prop_map(|(user, gateway, online)| Step::Appear { user, gateway, online }),
        1 => Just(Step::Forget),
        8 => (0_u64..120).prop_map(|millis| Step::Wait { millis }),
        1 => (300_u64..900).prop_map(|millis| Step::Wait { millis }),
    ];
    proptest::collection::vec(step, 60..120)
}

/// Some directs, some groups, and one that is too large to make anybody contacts.
async fn people(world: &World) -> (Vec<UserId>, HashMap<UserId, BTreeSet<UserId>>) {
    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        people.push(world.user().await);
    }
    let of = |members: &[usize]| {
        members
            .iter()
            .map(|index| people[*index])
            .collect::<Vec<_>>()
    };
    let conversations = [
        of(&[0, 1]),
        of(&[2, 3]),
        of(&[0, 1, 2, 3, 4]),
        of(&[4, 5, 6]),
        of(&[6, 7, 8, 0, 2, 5]),
        of(&[0, 1, 2, 3, 5, 7, 8, 9]),
    ];
    for members in &conversations {
        world.group(members).await;
    }
    let contacts = contacts(&conversations);
    (people, contacts)
}

struct History<'a> {
    world: &'a World,
    people: Vec<UserId>,
    contacts: HashMap<UserId, BTreeSet<UserId>>,
    gateways: Vec<Gateway>,
    watchers: Vec<Watcher>,
    hidden: BTreeSet<UserId>,
}

impl History<'_> {
    fn connect(&mut self, user: UserId, gateway: usize, one_by_one: bool) {
        let dialect = if one_by_one {
            "namespaced"
        } else {
            "conversations"
        };
        let mut watcher = self.gateways[gateway].connect(user, dialect);
        // It is not told that there is nobody.
        watcher.began = one_by_one;
        self.watchers.push(watcher);
    }

    async fn replace(&mut self, gateway: usize) -> (Gateway, Vec<Watcher>) {
        let fresh = self.world.gateway().await;
        let former = std::mem::replace(&mut self.gateways[gateway], fresh);
        let watchers = std::mem::take(&mut self.watchers);
        let (gone, stay) = watchers
            .into_iter()
            .partition(|watcher| watcher.node == former.id);
        self.watchers = stay;
        (former, gone)
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Connect {
                user,
                gateway,
                one_by_one,
            } => {
                self.connect(self.people[user], gateway, one_by_one);
            }
            Step::Disconnect { which } if !self.watchers.is_empty() => {
                let watcher = self.watchers.swap_remove(which % self.watchers.len());
                let gateway = self
                    .gateways
                    .iter()
                    .find(|gateway| gateway.id == watcher.node);
                gateway.unwrap().disconnect(&watcher);
            }
            Step::Disconnect { .. } => {}
            Step::Kill { gateway, come_back } => {
                let (former, gone) = self.replace(gateway).await;
                former.kill().await;
                for watcher in gone.into_iter().filter(|_| come_back) {
                    self.connect(watcher.user, (gateway + 1) % GATEWAYS, false);
                }
            }
            Step::Drain { gateway, come_back } => {
                let (former, gone) = self.replace(gateway).await;
                former.drain(&gone.iter().collect::<Vec<_>>()).await;
                for watcher in gone.into_iter().filter(|_| come_back) {
                    self.connect(watcher.user, (gateway + 1) % GATEWAYS, false);
                }
            }
            Step::Appear {
                user,
                gateway,
                online,
            } => {
                let user = self.people[user];
                if online {
                    self.hidden.remove(&user);
                } else {
                    self.hidden.insert(user);
                }
                World::appear(&self.gateways[gateway], user, online).await;
            }
            Step::Forget => self.world.redis.flushall::<()>(false).await.unwrap(),
            Step::Wait { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
    }

    /// Whether Redis and every view agree with the truth, and nothing is under way.
    async fn is_right(&mut self) -> Result<(), String> {
        self.is_seen_right().await?;
        match self.world.unsaid().await {
            0 => Ok(()),
            unsaid => Err(format!("{unsaid} changes are not announced")),
        }
    }

    /// Whether Redis and every view agree with the truth.
    async fn is_seen_right(&mut self) -> Result<(), String> {
        let truth: BTreeSet<UserId> = self.watchers.iter().map(|watcher| watcher.user).collect();
        let noted = self.world.connected(&self.people).await;
        if noted != truth {
            return Err(format!("connected: {noted:?} instead of {truth:?}"));
        }
        for (index, watcher) in self.watchers.iter_mut().enumerate() {
            watcher.read();
            let expected: BTreeSet<UserId> = self
                .contacts
                .get(&watcher.user)
                .into_iter()
                .flatten()
                .filter(|one| truth.contains(one) && !self.hidden.contains(one))
                .copied()
                .collect();
            if watcher.view != expected || !watcher.began {
                let (user, view) = (watcher.user, &watcher.view);
                return Err(format!(
                    "watcher {index} of {user}: {view:?} instead of {expected:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Makes PostgreSQL take its time over each account: what overtakes what is left to chance.
async fn slow_down(world: &World) {
    for statement in [
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE users FORCE ROW LEVEL SECURITY",
        "CREATE POLICY slow ON users USING (pg_sleep(random() * random() * 0.06) IS NOT NULL) WITH CHECK (true)",
    ] {
        sqlx::query(statement).execute(&world.pool).await.unwrap();
    }
}

async fn play(world: &World, steps: Vec<Step>) -> Result<Duration, String> {
    world.redis.flushall::<()>(false).await.unwrap();
    // PostgreSQL takes its time over those of former histories as well.
    sqlx::query("TRUNCATE users CASCADE")
        .execute(&world.pool)
        .await
        .unwrap();
    let (people, contacts) = people(world).await;
    let mut gateways = Vec::new();
    for _ in 0..GATEWAYS {
        gateways.push(world.gateway().await);
    }
    let mut history = History {
        world,
        people,
        contacts,
        gateways,
        watchers: Vec::new(),
        hidden: BTreeSet::new(),
    };
    for step in steps {
        history.take(step).await;
    }
    let history = tokio::sync::Mutex::new(history);
    let right = || async { history.lock().await.is_right().await };
    let mut outcome = until(CONVERGED, right).await;
    if outcome.is_ok() {
        // And it stays so.
        let stays = world.stays().await;
        tokio::time::sleep(hurried().settling + hurried().linger * 2).await;
        let seen_right = history.lock().await.is_seen_right().await;
        // Where there is little time to run in, a lease may have lapsed: then its node has begun another stay. Everybody is announced
        // again, and seldom somebody sees a difference meanwhile.
        outcome = match seen_right {
            Err(why) if world.stays().await == stays => Err(format!("no longer: {why}")),
            Ok(()) | Err(_) => until(CONVERGED, right).await,
        };
    }
    for gateway in history.into_inner().gateways {
        gateway.kill().await;
    }
    outcome
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn whatever_happened_everybody_sees_who_is_online() {
    let timing = Timing {
        term: Duration::from_secs(2),
        ..hurried()
    };
    with_world_at(timing, |world| async move {
        slow_down(&world).await;
        let histories = std::env::var("CONFAB_HISTORIES").ok();
        let config = Config {
            cases: histories.map_or(3, |number| number.parse().unwrap()),
            // Each try takes seconds.
            max_shrink_iters: 24,
            failure_persistence: None,
            ..Config::default()
        };
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            let played = TestRunner::new(config).run(&steps(), |steps| {
                let converged = runtime.block_on(play(&world, steps));
                converged.map_err(TestCaseError::fail)?;
                Ok(())
            });
            if let Err(failure) = played {
                panic!("{failure}");
            }
        });
    });
}
