//! PID 1's one loop: waits for anything to happen, lets the supervisor decide, and does what it says.
//!
//! Nothing here waits for anything but the loop's own poller: sockets and pipes do not block, files are opened only in `/proc`,
//! `/sys`, `/dev` and `/run`, and whatever touches a disk is a child. Nothing here panics: what cannot be is told and left.

mod groups;
mod last;
mod logs;
mod notify;
mod orders;
mod planning;
mod power;
mod start;

pub use last::final_child;

use crate::supervisor::{Command, Event, News, Role, State};
use crate::voice::Voice;
use groups::Groups;
use logs::Logs;
use orders::Orders;
use planning::Planning;
use power::Buttons;
use skerry_control::unit::{Kind, Ready, Unit};
use skerry_sys::event::{Interest, Poller, Signals};
use skerry_sys::machine::{self, Down, Watchdog};
use skerry_sys::process::{self, Exit, Program};
use skerry_sys::{Result, file, socket};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

const SIGNALS: u64 = 1;
const NOTIFY: u64 = 2;
const ORDERS: u64 = 3;
const PLAN: u64 = 4;
const FIRST_BUTTON: u64 = 1 << 16;
const FIRST_CLIENT: u64 = 1 << 32;

/// `signal.h`
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGPWR: i32 = 30;

/// How often the watchdog hears from us.
const PET: Duration = Duration::from_secs(10);
/// How often a group that is to become empty is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// So many children are reaped before the loop looks at the rest.
const REAP_AT_ONCE: usize = 1000;

/// Brings the machine up, keeps it up, brings it down.
pub struct Pid1 {
    poller: Poller,
    signals: Signals,
    notify: Option<OwnedFd>,
    orders: Orders,
    voice: Voice,
    logs: Logs,
    groups: Groups,
    state: State,
    planning: Planning,
    buttons: Buttons,
    watchdog: Option<Watchdog>,
    pet_at: Duration,
    last_step: Duration,
    /// Whose process: unit's name.
    processes: BTreeMap<u32, (String, Role)>,
    finish: Option<Down>,
}

/// Runs until the machine goes down.
pub fn run() -> Result<()> {
    let watchdog = Watchdog::inherited();
    let signals = Signals::take(&[SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGPWR])?;
    let poller = Poller::new()?;
    let problems = start::prepare();
    let voice = Voice::open();
    for p in &problems {
        voice.alarm(p);
    }
    let mut pid1 = Pid1 {
        notify: socket::receive_at(Path::new(skerry_control::NOTIFY_SOCKET), 0o666)
            .map_err(|e| voice.alarm(&e.to_string()))
            .ok(),
        orders: Orders::open().map_err(|e| voice.alarm(&e.to_string())).unwrap_or_default(),
        logs: Logs::new(),
        groups: Groups::new(),
        state: State::default(),
        planning: Planning::new(&voice.consoles(), &file::read_text("/proc/cmdline", 1 << 16).unwrap_or_default()),
        buttons: Buttons::default(),
        pet_at: Duration::ZERO,
        last_step: Duration::ZERO,
        processes: BTreeMap::new(),
        finish: None,
        poller,
        signals,
        voice,
        watchdog,
    };
    pid1.poller.add(&pid1.signals, SIGNALS, Interest::Read)?;
    if let Some(fd) = &pid1.notify {
        pid1.poller.add(fd, NOTIFY, Interest::Read)?;
    }
    if let Some(fd) = pid1.orders.listener() {
        pid1.poller.add(fd, ORDERS, Interest::Read)?;
    }
    pid1.logs.start_keeper(machine::uptime());
    for note in pid1.planning.notes() {
        pid1.voice.say(note);
    }
    let plan = pid1.planning.units();
    pid1.happened(Event::Plan(plan));
    loop {
        pid1.turn();
        if let Some(how) = pid1.finish {
            pid1.leave(how);
        }
    }
}

impl Pid1 {
    /// One turn of the loop. An error of the poller itself is told, and the next turn tries again.
    fn turn(&mut self) {
        let now = machine::uptime();
        self.look_after(now);
        let timeout = self.next_due().saturating_sub(now);
        match self.poller.wait(Some(timeout)) {
            Ok(ready) => {
                for r in ready {
                    match r.token {
                        SIGNALS => self.read_signals(),
                        NOTIFY => self.read_notify(),
                        ORDERS => self.orders.accept(&self.poller, FIRST_CLIENT),
                        PLAN => self.planning.read(),
                        token if token >= FIRST_CLIENT => self.serve(r),
                        token => self.read_button(token),
                    }
                }
            }
            Err(why) => self.voice.alarm(&why.to_string()),
        }
    }

    /// What is due by time alone.
    fn look_after(&mut self, now: Duration) {
        if now >= self.pet_at {
            self.pet_at = now + PET;
            if let Some(Err(why)) = self.watchdog.as_mut().map(Watchdog::pet) {
                self.voice.alarm(&why.to_string());
            }
        }
        if self.state.next_due(self.last_step).is_some_and(|due| due <= now) {
            self.happened(Event::Tick);
        }
        let awaited: Vec<String> = self
            .state
            .entries()
            .iter()
            .filter(|e| e.awaits_empty())
            .map(|e| e.unit.name.clone())
            .collect();
        for name in awaited {
            if self.groups.is_empty(&name) {
                self.happened(Event::Empty(name));
            }
        }
        self.logs.look_after(now);
        self.orders.drop_idle(now);
        self.buttons.look(now, &self.poller, FIRST_BUTTON);
    }

    fn next_due(&self) -> Duration {
        let looks = self
            .state
            .entries()
            .iter()
            .any(crate::supervisor::Entry::awaits_empty)
            .then(|| self.last_step.max(machine::uptime()) + LOOK);
        [
            Some(self.pet_at),
            self.state.next_due(self.last_step),
            looks,
            self.logs.next_due(),
            self.orders.next_due(),
            Some(self.buttons.next_due()),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.pet_at)
    }

    fn read_signals(&mut self) {
        while let Some(received) = self.signals.next() {
            match received.signal {
                SIGCHLD => {}
                SIGINT => self.go_down(Down::Reboot, "Ctrl-Alt-Del was pressed"),
                SIGTERM => self.go_down(Down::Reboot, &format!("process {} asked for it by SIGTERM", received.pid)),
                SIGPWR => self.go_down(Down::PowerOff, "the power fails (SIGPWR)"),
                _ => {
                    if let Some(why) = self.reload() {
                        self.voice.alarm(&why);
                    }
                }
            }
        }
        self.reap();
    }

    /// Takes children that ended. If there are very many, the rest follows in the next turn: the signal is sent again.
    fn reap(&mut self) {
        for _ in 0..REAP_AT_ONCE {
            let Some((pid, exit)) = process::reap() else { return };
            if self.logs.keeper_ended(pid, exit, machine::uptime(), &self.voice) {
                continue;
            }
            if let Some((name, role)) = self.processes.remove(&pid) {
                if role == Role::Main {
                    self.logs.note(&name, &format!("{exit}"));
                }
                self.happened(Event::Exited { pid, exit });
                if role == Role::Main {
                    self.main_ended(&name, exit);
                }
            }
        }
        let _ = process::raise(SIGCHLD); // only lets the next turn begin at once
    }

    fn main_ended(&mut self, name: &str, exit: Exit) {
        if name == planning::STORAGE {
            self.logs.files_are_there();
        }
        let steps = self.planning.ended(name, exit, &mut self.logs);
        self.follow(steps);
    }

    /// Does what planning decided.
    fn follow(&mut self, outcome: planning::Outcome) {
        if let Some(text) = outcome.say {
            self.voice.alarm(&text);
        }
        if let Some(name) = outcome.show {
            self.logs.show(&name, 20);
        }
        if let Some(units) = outcome.install {
            self.happened(Event::Plan(units));
            process::give_back_memory();
        }
    }

    /// Lets the supervisor decide, and does it; what follows from that too. Returns why it refused, if it did.
    fn happened(&mut self, event: Event) -> Option<String> {
        let mut refused = None;
        let mut open = VecDeque::from([event]);
        while let Some(event) = open.pop_front() {
            self.last_step = machine::uptime();
            for command in self.state.step(event, self.last_step) {
                match command {
                    Command::Spawn(unit, role) => open.push_back(self.spawn(&unit, role)),
                    Command::Signal(pid, signal) => drop(process::kill(pid, signal)), // it may just have ended
                    Command::SignalTree(name, signal) => self.signal_tree(&name, signal),
                    Command::KillTree(name) => self.groups.kill(&name),
                    Command::Remove(name) => {
                        self.groups.remove(&name);
                        self.logs.remove(&name);
                    }
                    Command::Tell(tell) => {
                        let kind = self.state.entry(&tell.name).map_or(Kind::Service, |e| e.unit.kind);
                        self.voice.tell(&tell, kind);
                        open.extend(self.more_to(&tell.name, &tell.news, tell.quiet));
                    }
                    Command::Finish(how) => self.finish = Some(how),
                    Command::Refused(why) => refused = Some(why),
                }
            }
        }
        refused
    }

    /// What a piece of news means besides its line on the console.
    fn more_to(&mut self, name: &str, news: &News, quiet: bool) -> Option<Event> {
        match news {
            News::Failed { show_log: true, .. } if !quiet => self.logs.show(name, 8),
            News::Killed => {
                // It may hang in the kernel for ever: the boot must not.
                let outcome = self.planning.stuck(name);
                if let Some(text) = outcome.say {
                    self.voice.alarm(&text);
                }
                return outcome.install.map(Event::Plan);
            }
            News::Failed { again: None, .. } => {
                let outcome = self.planning.last_resort(name);
                if let Some(text) = outcome.say {
                    self.voice.alarm(&text);
                }
                return outcome.install.map(Event::Plan);
            }
            _ => {}
        }
        None
    }

    fn signal_tree(&mut self, name: &str, signal: i32) {
        if self.groups.signal(name, signal) {
            return;
        }
        if let Some(pid) = self.state.entry(name).and_then(crate::supervisor::Entry::pid) {
            let _ = process::kill(pid, signal); // it may just have ended
        }
    }

    fn spawn(&mut self, unit: &Unit, role: Role) -> Event {
        let name = unit.name.clone();
        let output = self.logs.pipe_of(unit, machine::uptime());
        let captured = if role == Role::Main {
            self.planning.capture(&name, &self.poller, PLAN)
        } else {
            None
        };
        let mut env = unit.env.clone();
        if unit.ready == Ready::Notify && role == Role::Main && !env.iter().any(|(k, _)| k == "NOTIFY_SOCKET") {
            env.push(("NOTIFY_SOCKET".to_owned(), skerry_control::NOTIFY_SOCKET.to_owned()));
        }
        let program = Program {
            argv: &unit.argv,
            env: &env,
            env_file: unit.env_file.as_deref(),
            joins: self.groups.was_killed(&name),
            cgroup: self.groups.of(unit),
            output: captured.as_ref().map(AsFd::as_fd).or(output.as_ref().map(AsFd::as_fd)),
            errors: output.as_ref().map(AsFd::as_fd),
            tty: unit.tty.as_deref(),
            user: unit.user.as_ref().map(|(u, g, more)| (*u, *g, more.as_slice())),
            oom_score: unit.oom_score,
            nofile: unit.nofile,
            ..Program::default()
        };
        match process::spawn(&program) {
            Ok(pid) => {
                if role == Role::Main {
                    self.logs.note(&name, &format!("started, process {pid}"));
                }
                self.processes.insert(pid, (name.clone(), role));
                Event::Spawned { name, role, pid }
            }
            Err(why) => Event::NotSpawned {
                name,
                role,
                why: why.to_string(),
            },
        }
    }

    fn go_down(&mut self, how: Down, why: &str) {
        let what = match (how, self.state.is_going_down()) {
            (Down::Reboot, false) => "Restarting",
            (Down::PowerOff, false) => "Switching off",
            (_, true) => "Going down at once",
        };
        self.voice.alarm(&format!("{what}: {why}"));
        self.happened(Event::Down(how));
    }

    fn reload(&mut self) -> Option<String> {
        let units = match self.planning.again() {
            Ok(units) => units,
            Err(why) => return Some(why),
        };
        self.happened(Event::Plan(units))
            .or_else(|| self.happened(Event::Start(planning::PLAN.to_owned())))
    }

    fn read_button(&mut self, token: u64) {
        if self.buttons.pressed(token) {
            self.go_down(Down::PowerOff, "the power button was pressed");
        }
    }
}
