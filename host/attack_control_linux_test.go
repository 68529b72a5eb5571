package host_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

// TestWithoutASandboxAttacksSucceed: what is denied elsewhere is denied by the sandbox, and not for a mistake in the attack.
func TestWithoutASandboxAttacksSucceed(t *testing.T) {
	hosttest.AsEachUser(t, hostileParts, func(t *testing.T) {
		c := hostile(t, 1, func(s *master.Settings) { s.Sandbox = abi.SandboxOff })
		for _, tr := range []trial{
			{"the host's files are open", "open-file", "openat: done"},
			{"and with openat2", "openat2", "openat2: done"},
			{"its own memory is a file", "open-own-memory", "openat: done"},
			{"the root is open", "open-root", "openat: done"},
			{"links can be read", "read-link", "readlinkat: done"},
			{"it knows where it is", "working-directory", "getcwd: done"},
			{"there are files in memory", "memory-file", "memfd_create: done"},
			{"files can be watched", "watch-files", "inotify_init1: done"},
			{"pages can be mapped as code", "map-executable", "mmap: done"},
			{"and to write and execute", "map-writable-executable", "mmap: done"},
			{"what is written becomes code", "make-executable", "mprotect: done"},
			{"processes can be made", "clone-process", "clone: done"},
			{"and by the newer call", "clone3", "clone3: done"},
			{"a sibling can be signalled", "kill-sibling", "kill: done"},
			{"and the master", "kill-master", "kill: done"},
			{"and a sibling's thread", "kill-sibling-thread", "tkill: done"},
			{"there is a descriptor of a sibling", "open-pidfd", "pidfd_open: done"},
			{"a sibling's time is known", "sibling-processor-time", "clock_gettime: done"},
			{"there are TCP sockets", "socket-inet", "socket: done"},
			{"and Unix's", "socket-unix", "socket: done"},
			{"and netlink", "socket-netlink", "socket: done"},
			{"and pairs", "socket-pair", "socketpair: done"},
			{"descriptors can be duplicated", "duplicate", "dup: done"},
			{"and by fcntl", "duplicate-by-fcntl", "fcntl: done"},
			{"the listener's flags can be set to what they are", "set-flags-again", "fcntl: done"},
			{"the channel gives a descriptor of the master, if the kernel knows that", "descriptor-of-master", "getsockopt: done or getsockopt: ENOPROTOOPT"},
			{"the process can change its name", "process-name", "prctl: done"},
			{"and be dumpable", "dumpable", "prctl: done"},
			{"limits can be set", "limit-through-low-pointer", "prlimit64: done"},
			{"there are descriptors of timers", "timer-descriptor", "timerfd_create: done"},
			{"the kernel's version is known", "name-of-kernel", "uname: done"},
			// The channel does not refuse descriptors then, and the master throws out whoever sends some.
			{"the master gets no descriptors, even so", "smuggle", expelled},
		} {
			t.Run(tr.name, func(t *testing.T) {
				if got := c.attack(tr.attack); !tr.expects(got) {
					t.Errorf("%s: %q, want %q", tr.attack, got, tr.outcome)
				}
			})
		}
	})
}

// TestTheLayersBehindSeccomp: with seccomp only logging, the others deny on their own what is theirs.
func TestTheLayersBehindSeccomp(t *testing.T) {
	hosttest.AsEachUser(t, hostileParts, func(t *testing.T) {
		hostile(t, 0, nil) // every layer that strict requires is there
		c := hostile(t, 1, func(s *master.Settings) { s.Sandbox = abi.SandboxLog })
		for _, tr := range []struct {
			layer abi.Layer
			least int // version of Landlock
			trial
		}{
			{abi.LayerMounts, 0, trial{"the host's files are not there", "open-file", "openat: ENOENT"}},
			{abi.LayerMounts, 0, trial{"nor above the root", "open-upwards", "openat: ENOENT"}},
			{abi.LayerMounts, 0, trial{"nor proc", "open-own-memory", "openat: ENOENT"}},
			{abi.LayerMounts, 0, trial{"nor a sibling in it", "open-sibling-memory", "openat: ENOENT"}},
			{abi.LayerMounts, 0, trial{"the root cannot be written to", "create-in-root", "openat: EROFS"}},
			{abi.LayerMounts, 0, trial{"nor the compiled module's directory", "create-in-code", "openat: EROFS"}},
			{abi.LayerMounts, 0, trial{"nor get a directory", "make-directory-in-code", "mkdirat: EROFS"}},
			{abi.LayerMounts, 0, trial{"nor another mode", "chmod", "fchmodat: EROFS"}},
			{abi.LayerCapabilities, 0, trial{"nothing can be mounted", "mount", "mount: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"nor mounted anew", "remount-code", "mount: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"nor given other attributes", "remount-root", "mount_setattr: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"nor unmounted", "unmount", "umount2: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"nor copied", "copy-tree", "open_tree: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"the root cannot be changed", "chroot", "chroot: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"no network namespace can be made", "new-network-namespace", "unshare: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"the machine cannot be rebooted", "reboot", "reboot: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"nor renamed", "host-name", "sethostname: EPERM"}},
			{abi.LayerCapabilities, 0, trial{"no capability can be had back", "capabilities", "capset: EPERM"}},
			{abi.LayerDumpable, 0, trial{"a sibling's memory cannot be read", "read-sibling", "process_vm_readv: EPERM"}},
			{abi.LayerDumpable, 0, trial{"a sibling cannot be traced", "trace-sibling", "ptrace: EPERM"}},
			{abi.LayerLandlock, 0, trial{"the master cannot be traced", "seize-master", "ptrace: EPERM"}},
			{abi.LayerLandlock, 6, trial{"a sibling cannot be signalled", "kill-sibling", "kill: EPERM"}},
			{abi.LayerLandlock, 6, trial{"nor the master", "kill-master", "kill: EPERM"}},
			{abi.LayerRlimits, 0, trial{"no memory can be locked", "map-locked", "mmap: EPERM"}},
			{abi.LayerRlimits, 0, trial{"limits cannot be raised", "raise-limit", "setrlimit: EPERM"}},
			{abi.LayerMDWE, 0, trial{"what is writable is no code", "map-writable-executable", "mmap: EACCES"}},
			{abi.LayerMDWE, 0, trial{"nor becomes it", "make-executable", "mprotect: EACCES"}},
			{abi.LayerPassRights, 0, trial{"the channel takes no descriptors", "smuggle", "sendmsg: EPERM"}},
		} {
			t.Run(tr.name, func(t *testing.T) {
				if why := c.lacks(tr.layer, tr.least); why != "" {
					t.Skip(why)
				}
				if got := c.attack(tr.attack); !tr.expects(got) {
					t.Errorf("%s: %q, want %q", tr.attack, got, tr.outcome)
				}
			})
		}
	})
}

// lacks says why a layer does not hold here, or not in that version.
func (c *cluster) lacks(layer abi.Layer, least int) string {
	layers := c.Sandbox().Layers
	i := slices.IndexFunc(layers, func(l abi.ProbedLayer) bool { return l.Layer == layer })
	if i < 0 || layers[i].Error != "" {
		return fmt.Sprintf("this host lacks %s", layer)
	}
	have := 0
	if _, err := fmt.Sscanf(layers[i].Note, "ABI %d", &have); least > 0 && (err != nil || have < least) {
		return fmt.Sprintf("Landlock of this kernel is %q, and this came with %d", layers[i].Note, least)
	}
	return ""
}
