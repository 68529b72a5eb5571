//go:build hostile

package host

import "golang.org/x/sys/unix"

// kernelAttacks reach for parts of the kernel that have had bugs, and for the machine as a whole.
var kernelAttacks = []attack{
	{"io-uring", "io_uring_setup", "system calls that seccomp does not see", func(p *prisoner) error {
		return ask(unix.SYS_IO_URING_SETUP, 1, p.room(120))
	}},
	{"io-uring-enter", "io_uring_enter", "system calls that seccomp does not see", asks(unix.SYS_IO_URING_ENTER, stdin, 0, 0, 0, 0, 0)},
	{"io-uring-register", "io_uring_register", "system calls that seccomp does not see", asks(unix.SYS_IO_URING_REGISTER, minus(1), 0, 0, 0)},
	{"old-asynchronous", "io_setup", "input and output by a thread of the kernel", func(p *prisoner) error {
		return ask(unix.SYS_IO_SETUP, 1, p.room(8))
	}},
	{"kernel-program", "bpf", "code in the kernel", func(p *prisoner) error {
		return ask(unix.SYS_BPF, unix.BPF_MAP_CREATE, p.words(4<<32|2, 1<<32|4, 0, 0, 0, 0, 0, 0, 0), 72)
	}},
	{"measure", "perf_event_open", "what others compute", func(p *prisoner) error {
		return ask(unix.SYS_PERF_EVENT_OPEN, p.words(128<<32|1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0, minus(1), minus(1), 0)
	}},
	{"keys", "keyctl", "the user's keys", asks(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, minus(4), 0)},
	{"add-key", "add_key", "a key of its own", func(p *prisoner) error {
		return ask(unix.SYS_ADD_KEY, p.text("user"), p.text(evidence), p.room(1), 1, minus(2))
	}},
	{"request-key", "request_key", "a program that the kernel starts", func(p *prisoner) error {
		return ask(unix.SYS_REQUEST_KEY, p.text("user"), p.text(evidence), p.text(""), minus(2))
	}},
	{"load-module", "init_module", "code in the kernel", func(p *prisoner) error {
		return ask(unix.SYS_INIT_MODULE, p.room(1), 0, p.text(""))
	}},
	{"load-module-file", "finit_module", "code in the kernel", func(p *prisoner) error {
		return ask(unix.SYS_FINIT_MODULE, stdin, p.text(""), 0)
	}},
	{"remove-module", "delete_module", "a part of the kernel gone", func(p *prisoner) error {
		return ask(unix.SYS_DELETE_MODULE, p.text(evidence), unix.O_NONBLOCK)
	}},
	{"another-kernel", "kexec_load", "another kernel", asks(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0)},
	{"kernel-log", "syslog", "the kernel's addresses", asks(unix.SYS_SYSLOG, 10, 0, 0)},
	{"no-such-call", "call 9999", "a call that is newer than the list", asks(9999)},
	{"call-minus-one", "call -1", "what the entry code does with it", asks(minus(1))},
	{"terminal", "vhangup", "the terminal of others", asks(unix.SYS_VHANGUP)},
	{"name-of-kernel", "uname", "which bugs the kernel has", func(p *prisoner) error {
		return ask(unix.SYS_UNAME, p.room(400))
	}},
	{"load-of-machine", "sysinfo", "what others do", func(p *prisoner) error {
		return ask(unix.SYS_SYSINFO, p.room(128))
	}},
	{"wait-for-many", "futex_waitv", "a newer part of the kernel", asks(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0)},
	{"barrier", "membarrier", "interrupts on everybody's processors", asks(unix.SYS_MEMBARRIER, 1, 0, 0)},
	{"timer-descriptor", "timerfd_create", "timers without a bound", asks(unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, 0)},
}

// machineAttacks change what the whole machine is.
var machineAttacks = []attack{
	{"reboot", "reboot", "everybody's end", asks(unix.SYS_REBOOT, 0, 0, 0, 0)},
	{"swap-on", "swapon", "a file that memory is written to", func(p *prisoner) error {
		return ask(unix.SYS_SWAPON, p.text("/code/"+evidence), 0)
	}},
	{"swap-off", "swapoff", "a machine without swap", func(p *prisoner) error {
		return ask(unix.SYS_SWAPOFF, p.text("/code/"+evidence))
	}},
	{"set-clock", "clock_settime", "another time for everybody", func(p *prisoner) error {
		return ask(unix.SYS_CLOCK_SETTIME, unix.CLOCK_MONOTONIC, p.words(0, 0))
	}},
	{"set-time-of-day", "settimeofday", "another time for everybody", asks(unix.SYS_SETTIMEOFDAY, 0, 0)},
	{"bend-clock", "clock_adjtime", "a clock that runs faster", func(p *prisoner) error {
		return ask(unix.SYS_CLOCK_ADJTIME, unix.CLOCK_REALTIME, p.room(256))
	}},
	{"bend-time", "adjtimex", "a clock that runs faster", func(p *prisoner) error {
		return ask(unix.SYS_ADJTIMEX, p.room(256))
	}},
	{"host-name", "sethostname", "another name", func(p *prisoner) error {
		return ask(unix.SYS_SETHOSTNAME, p.text(evidence), uintptr(len(evidence)))
	}},
	{"domain-name", "setdomainname", "another name", func(p *prisoner) error {
		return ask(unix.SYS_SETDOMAINNAME, p.text(evidence), uintptr(len(evidence)))
	}},
	{"accounting", "acct", "a file that the kernel writes", asks(unix.SYS_ACCT, 0)},
	{"quota", "quotactl", "others' room on disk", asks(unix.SYS_QUOTACTL, 0x800001<<8, 0, 0, 0)},
	{"quota-descriptor", "quotactl_fd", "others' room on disk", asks(unix.SYS_QUOTACTL_FD, stdin, 0x800001<<8, 0, 0)},
}
