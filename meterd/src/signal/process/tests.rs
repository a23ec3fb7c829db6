//! Registrations against the kernel: the same process is found again, and nothing else ever is.

use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use budget::signal::{Members, Process};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::{Held, NotIt, identify};

/// A process that sleeps, in a group of its own; ended with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("1000").process_group(0).stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap()
    }

    /// Its registration, as the kernel tells it.
    fn registered(&self, members: &str) -> Process {
        let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
        identify(self.pid(), pidfd.as_fd(), members, false).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_registered_process_is_found_again_and_signalled() {
    let mut sleeper = Sleeper::start();
    let registered = sleeper.registered("");
    assert_eq!((registered.pid, &registered.members), (sleeper.0.id(), &Members::Group), "it leads its group");
    let held = Held::open(&registered).unwrap();
    held.signal(Signal::TERM).unwrap();
    held.ended().await;
    assert_eq!(sleeper.0.wait().unwrap().signal(), Some(15));
    assert_eq!(held.signal(Signal::KILL), Err(NotIt::Gone(registered.pid)));
    assert_eq!(Held::open(&registered).unwrap_err(), NotIt::Gone(registered.pid));
}

/// A pid that another process has by now: everything of the registration fits but one thing.
#[tokio::test]
async fn a_reused_pid_is_never_signalled() {
    let mut sleeper = Sleeper::start();
    let real = sleeper.registered("tree");
    let gone = NotIt::Gone(real.pid);
    let fabricated = [
        (Process { started: real.started - 1, ..real.clone() }, gone.clone()),
        (Process { boot: "00000000-0000-4000-8000-000000000000".into(), ..real.clone() }, gone),
    ];
    for (registration, expected) in fabricated {
        assert_eq!(Held::open(&registration).unwrap_err(), expected);
    }
    let other_user = Held::open(&Process { uid: real.uid + 1, ..real.clone() }).unwrap_err();
    assert!(matches!(other_user, NotIt::Refused(_)), "{other_user}");
    assert_eq!(sleeper.0.try_wait().unwrap(), None, "nothing was sent to it");
    // The true registration is it: the test above would pass for one that never fits.
    Held::open(&real).unwrap().signal(Signal::KILL).unwrap();
    assert_eq!(sleeper.0.wait().unwrap().signal(), Some(9));
}

#[tokio::test]
async fn init_and_meterd_itself_are_never_signalled() {
    let sleeper = Sleeper::start();
    let real = sleeper.registered("tree");
    for pid in [0, 1, std::process::id()] {
        let refused = Held::open(&Process { pid, ..real.clone() }).unwrap_err();
        assert!(matches!(refused, NotIt::Refused(_)), "{pid}: {refused}");
    }
    let own = rustix::process::getpid();
    let pidfd = pidfd_open(own, PidfdFlags::empty()).unwrap();
    assert!(matches!(identify(own, pidfd.as_fd(), "", false), Err(NotIt::Refused(_))));
}

/// Members of its group go with it, whoever their parent is.
#[tokio::test]
async fn the_group_goes_with_its_leader() {
    let mut leader = Sleeper::start();
    let mut member = Command::new("sleep");
    let group = i32::try_from(leader.0.id()).unwrap();
    let mut member = Sleeper(member.arg("1000").process_group(group).spawn().unwrap());
    let mut bystander = Sleeper::start();
    Held::open(&leader.registered("group")).unwrap().signal(Signal::KILL).unwrap();
    assert_eq!(leader.0.wait().unwrap().signal(), Some(9));
    assert_eq!(member.0.wait().unwrap().signal(), Some(9));
    assert_eq!(bystander.0.try_wait().unwrap(), None);
    // A group is for who leads one: this process is in a group with others.
    let pidfd = pidfd_open(bystander.pid(), PidfdFlags::empty()).unwrap();
    let foreign = identify(bystander.pid(), pidfd.as_fd(), "cgroup", false);
    assert!(matches!(foreign, Err(NotIt::Refused(_))), "meterd is in that cgroup too: {foreign:?}");
}
