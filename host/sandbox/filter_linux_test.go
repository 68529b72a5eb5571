package sandbox

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// pid is this process's, as far as the filters under test know.
const pid = 4711

// filter is a program that a test asks.
type filter struct {
	t  *testing.T
	vm *bpf.VM
}

func newFilter(t *testing.T, rules []rule, rest action) filter {
	t.Helper()
	raw, err := assemble(rules, rest)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 4096 { // BPF_MAXINSNS
		t.Fatalf("a filter of %d instructions; the kernel takes 4096", len(raw))
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter cannot be disassembled")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return filter{t, vm}
}

// on answers what becomes of a call. The machine of package bpf reads its packet big-endian, the kernel its seccomp_data
// as the processor does: the packet is made for the machine.
func (f filter) on(arch uint32, call uintptr, args ...uint64) action {
	f.t.Helper()
	data := make([]byte, offsetArgs+6*8)
	binary.BigEndian.PutUint32(data[offsetCall:], uint32(call))
	binary.BigEndian.PutUint32(data[offsetArch:], arch)
	for i, a := range args {
		// The lower half comes first, as on a little-endian processor.
		binary.BigEndian.PutUint32(data[offsetArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offsetArgs+8*i+4:], uint32(a>>32))
	}
	n, err := f.vm.Run(data)
	if err != nil {
		f.t.Fatal(err)
	}
	return action(uint32(n))
}

func (f filter) call(call uintptr, args ...uint64) action { return f.on(auditArch, call, args...) }

var refused = fails(unix.EPERM)

func loadingFilter(t *testing.T) filter { return newFilter(t, loading(pid, false, refused), refused) }

func runningFilter(t *testing.T) filter { return newFilter(t, running(refused), allow) }

// sealed is what both filters together do: the kernel takes the stricter answer, which is the lower one, as a signed number.
func sealed(t *testing.T) func(call uintptr, args ...uint64) action {
	first, second := loadingFilter(t), runningFilter(t)
	return func(call uintptr, args ...uint64) action {
		a, b := first.call(call, args...), second.call(call, args...)
		if int32(a) < int32(b) {
			return a
		}
		return b
	}
}

func (a action) String() string {
	switch {
	case a == allow:
		return "allow"
	case a == logCall:
		return "log"
	case a == killProcess:
		return "kill"
	case a&^0xffff == errnoBase:
		return unix.ErrnoName(unix.Errno(a & 0xffff))
	}
	return fmt.Sprintf("action %#x", uint32(a))
}

func TestWhatAWorkerMayAskOfTheKernel(t *testing.T) {
	ask := sealed(t)
	for _, c := range []struct {
		name string
		call uintptr
		args []uint64
		want string
	}{
		{"reading is allowed", unix.SYS_READ, nil, "allow"},
		{"accepting is allowed", unix.SYS_ACCEPT4, nil, "allow"},
		{"sending is allowed", unix.SYS_SENDTO, []uint64{8, 0, 0, unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL}, "allow"},
		{"sending with fast open is connecting", unix.SYS_SENDTO, []uint64{8, 0, 0, unix.MSG_FASTOPEN | unix.MSG_DONTWAIT}, "EPERM"},
		{"so is sendmsg with fast open", unix.SYS_SENDMSG, []uint64{8, 0, unix.MSG_FASTOPEN}, "EPERM"},
		{"sendmsg without is allowed", unix.SYS_SENDMSG, []uint64{8, 0, unix.MSG_DONTWAIT}, "allow"},
		{"sendmmsg could hide it", unix.SYS_SENDMMSG, nil, "EPERM"},
		{"connecting is denied", unix.SYS_CONNECT, nil, "EPERM"},
		{"binding is denied", unix.SYS_BIND, nil, "EPERM"},
		{"listening is denied", unix.SYS_LISTEN, nil, "EPERM"},
		{"sockets are denied", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM}, "EPERM"},
		{"socket pairs are denied", unix.SYS_SOCKETPAIR, nil, "EPERM"},
		{"a connection may be half closed", unix.SYS_SHUTDOWN, []uint64{8, unix.SHUT_WR}, "allow"},
		{"reading may not be shut", unix.SYS_SHUTDOWN, []uint64{8, unix.SHUT_RD}, "EPERM"},
		{"nor both", unix.SYS_SHUTDOWN, []uint64{8, unix.SHUT_RDWR}, "EPERM"},
		{"flags may be read", unix.SYS_FCNTL, []uint64{8, unix.F_GETFL}, "allow"},
		{"flags may not be set", unix.SYS_FCNTL, []uint64{8, unix.F_SETFL, 0}, "EPERM"},
		{"descriptors may not be duplicated", unix.SYS_FCNTL, []uint64{8, unix.F_DUPFD_CLOEXEC}, "EPERM"},
		{"nor with dup", unix.SYS_DUP, nil, "EPERM"},
		{"what is unread may be asked", unix.SYS_IOCTL, []uint64{8, unix.TIOCINQ}, "allow"},
		{"other ioctls may not", unix.SYS_IOCTL, []uint64{8, unix.TIOCSTI}, "EPERM"},
		{"an option of TCP may be set", unix.SYS_SETSOCKOPT, []uint64{8, unix.IPPROTO_TCP, unix.TCP_NODELAY}, "allow"},
		{"the same number at another level may not", unix.SYS_SETSOCKOPT, []uint64{8, unix.SOL_SOCKET, unix.TCP_NODELAY}, "EPERM"},
		{"another option of TCP may not", unix.SYS_SETSOCKOPT, []uint64{8, unix.IPPROTO_TCP, unix.TCP_REPAIR}, "EPERM"},
		{"a thread may be made", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD}, "allow"},
		{"one with descriptors of its own may not", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD}, "EPERM"},
		{"a process may not", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, "EPERM"},
		{"nor one that shares memory", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)}, "EPERM"},
		{"nor a thread with a namespace", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_NEWUSER}, "EPERM"},
		{"clone3 is not there", unix.SYS_CLONE3, nil, "ENOSYS"},
		{"own threads may be signalled", unix.SYS_TGKILL, []uint64{pid, 1, uint64(unix.SIGURG)}, "allow"},
		{"others may not", unix.SYS_TGKILL, []uint64{pid + 1, 1, uint64(unix.SIGKILL)}, "EPERM"},
		{"nor by kill", unix.SYS_KILL, []uint64{pid, 0}, "EPERM"},
		{"nor by pidfd", unix.SYS_PIDFD_SEND_SIGNAL, nil, "EPERM"},
		{"limits may not be asked for any more", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 0, 0x7fff0000}, "EPERM"},
		{"nor be set by a pointer that has no lower half", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 0x3_0000_0000, 0}, "EPERM"},
		{"nor be set", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 0x7fff0010, 0}, "EPERM"},
		{"nor be asked of others", unix.SYS_PRLIMIT64, []uint64{1, unix.RLIMIT_NOFILE, 0, 0x7fff0000}, "EPERM"},
		{"clocks of the machine may be read", unix.SYS_CLOCK_GETTIME, []uint64{unix.CLOCK_MONOTONIC}, "allow"},
		{"those of other processes may not", unix.SYS_CLOCK_GETTIME, []uint64{0xffff_fff2}, "EPERM"},
		{"sockets may be asked for errors", unix.SYS_GETSOCKOPT, []uint64{8, unix.SOL_SOCKET, unix.SO_ERROR}, "allow"},
		{"and not for the process behind them", unix.SYS_GETSOCKOPT, []uint64{8, unix.SOL_SOCKET, unix.SO_PEERPIDFD}, "EPERM"},
		{"no more pipes", unix.SYS_PIPE2, nil, "EPERM"},
		{"memory may be mapped", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE}, "allow"},
		{"not to be executed", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, "EPERM"},
		{"nor later", unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_EXEC}, "EPERM"},
		{"nor by key", unix.SYS_PKEY_MPROTECT, []uint64{0, 4096, unix.PROT_EXEC}, "EPERM"},
		{"paths are not opened", unix.SYS_OPENAT, nil, "EPERM"},
		{"nor in the newer way", unix.SYS_OPENAT2, nil, "EPERM"},
		{"memory may be named", unix.SYS_PRCTL, []uint64{prSetVMA}, "allow"},
		{"the process may not be made dumpable", unix.SYS_PRCTL, []uint64{unix.PR_SET_DUMPABLE, 1}, "EPERM"},
		{"no third filter", unix.SYS_SECCOMP, []uint64{unix.SECCOMP_SET_MODE_FILTER}, "EPERM"},
		{"no file in memory", unix.SYS_MEMFD_CREATE, nil, "EPERM"},
		{"no program is executed", unix.SYS_EXECVE, nil, "kill"},
		{"nobody is traced", unix.SYS_PTRACE, nil, "kill"},
		{"no ring", unix.SYS_IO_URING_SETUP, nil, "kill"},
		{"no mount", unix.SYS_MOUNT, nil, "kill"},
		{"no namespace", unix.SYS_UNSHARE, nil, "kill"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ask(c.call, c.args...).String(); got != c.want {
				t.Errorf("call %d %x: %s, want %s", c.call, c.args, got, c.want)
			}
		})
	}
}

// Every call is on one list at the most, the lists hold, and what is on none is refused.
func TestTheListsAreWhatTheFiltersDo(t *testing.T) {
	first := loadingFilter(t)
	var some []uintptr // with conditions
	for _, r := range conditional(pid, refused) {
		some = append(some, r.calls...)
	}
	opening := append([]uintptr{unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_GETDENTS64, unix.SYS_MKDIRAT, unix.SYS_SECCOMP, unix.SYS_PRCTL}, openingHere...)
	for call := range uintptr(1024) {
		var on []string
		for name, list := range map[string][]uintptr{"always": always(), "fatal": fatal(), "opening": opening, "conditional": some} {
			if slices.Contains(list, call) {
				on = append(on, name)
			}
		}
		if len(on) > 1 {
			t.Errorf("call %d is on the lists %v", call, on)
		}
		got := first.call(call)
		switch {
		case slices.Equal(on, []string{"always"}) && got != allow,
			slices.Equal(on, []string{"fatal"}) && got != killProcess,
			len(on) == 0 && got != refused:
			t.Errorf("call %d, on %v: %v", call, on, got)
		}
	}
}

func TestOtherArchitecturesEndTheProcess(t *testing.T) {
	first := loadingFilter(t)
	const i386 = 0x40000003 // AUDIT_ARCH_I386
	if got := first.on(i386, unix.SYS_READ); got != killProcess {
		t.Errorf("a call of i386: %v", got)
	}
	if got := first.call(x32Bit | unix.SYS_READ); got != killProcess {
		t.Errorf("a call of x32: %v", got)
	}
}

func TestLoggingRefusesNothing(t *testing.T) {
	first := newFilter(t, loading(pid, false, logCall), logCall)
	for _, call := range []uintptr{unix.SYS_SOCKET, unix.SYS_EXECVE, unix.SYS_MEMFD_CREATE} {
		if got := first.call(call); got != logCall {
			t.Errorf("call %d: %v", call, got)
		}
	}
	if got := first.call(unix.SYS_READ); got != allow {
		t.Errorf("read: %v", got)
	}
}

func TestACompilerMayWriteAndAWorkerMayNot(t *testing.T) {
	worker, compiler := loadingFilter(t), newFilter(t, loading(pid, true, refused), refused)
	for _, call := range []uintptr{unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_FSYNC} {
		if got := worker.call(call); got != refused {
			t.Errorf("a worker's call %d: %v", call, got)
		}
		if got := compiler.call(call); got != allow {
			t.Errorf("a compiler's call %d: %v", call, got)
		}
	}
	if got := compiler.call(unix.SYS_SOCKET); got != refused {
		t.Errorf("a compiler's socket: %v", got)
	}
}
