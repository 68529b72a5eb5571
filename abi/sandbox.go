package abi

// SandboxLevel is how a worker process is locked down before its guest runs.
type SandboxLevel string

// The levels.
const (
	SandboxAuto   SandboxLevel = "auto"   // every layer that this host has; the default
	SandboxStrict SandboxLevel = "strict" // every required layer, or nothing runs
	SandboxLog    SandboxLevel = "log"    // as auto, but calls that seccomp would refuse are logged and let through
	SandboxOff    SandboxLevel = "off"    // none
)

// SandboxUser is the number, in its namespace, of the user that a worker of the machine's root becomes.
const SandboxUser = 1

// Layer is a part of the sandbox that a host may lack.
type Layer string

// The layers, in the order in which they are put on.
const (
	LayerNamespaces   Layer = "namespaces"   // user, network, mount, ipc, uts and cgroup namespaces of its own
	LayerPassRights   Layer = "pass-rights"  // the channel takes no descriptors from the worker (SO_PASSRIGHTS)
	LayerMounts       Layer = "mounts"       // an empty read-only root that holds what the guest may see and no more
	LayerRlimits      Layer = "rlimits"      // no core, no files, so many descriptors and threads
	LayerCapabilities Layer = "capabilities" // none, in no thread; and another user than the machine's root
	LayerLandlock     Layer = "landlock"     // no path, no TCP, no abstract socket, no signal outside
	LayerDumpable     Layer = "dumpable"     // no core dump, and no sibling can look into its memory
	LayerNoNewPrivs   Layer = "no-new-privs" // execve gives nothing
	LayerSeccomp      Layer = "seccomp"      // a list of system calls
	LayerMDWE         Layer = "mdwe"         // what was writable never becomes executable
)

// Layers is all of them, in order.
var Layers = []Layer{
	LayerNamespaces, LayerPassRights, LayerMounts, LayerRlimits, LayerCapabilities, LayerLandlock, LayerDumpable,
	LayerNoNewPrivs, LayerSeccomp, LayerMDWE,
}

// Required is whether SandboxStrict refuses to start without it. The others need kernels that are newer than Linux 5.15.
func (l Layer) Required() bool { return l != LayerPassRights && l != LayerMDWE }

// Sandbox tells a host process how to lock itself down. What is in Layers must hold, or the process ends.
type Sandbox struct {
	Level  SandboxLevel `json:"level"`
	Layers []Layer      `json:"layers"`
	// CPUSeconds bounds the CPU time of the process, or is 0. FileBytes bounds the size of a file that it writes.
	CPUSeconds int64 `json:"cpuSeconds"`
	FileBytes  int64 `json:"fileBytes"`
	// User is who the process becomes in its namespace, user and group, once its mounts are made; 0: it stays who it is.
	User uint32 `json:"user"`
}

// Has is whether a layer is to be put on.
func (s *Sandbox) Has(l Layer) bool {
	for _, have := range s.Layers {
		if have == l {
			return true
		}
	}
	return false
}

// Probed is what a host process found that it can put on, in the order of Layers.
type Probed struct {
	Layers []ProbedLayer `json:"layers"`
}

// ProbedLayer is one layer of this host.
type ProbedLayer struct {
	Layer Layer  `json:"layer"`
	Error string `json:"error,omitempty"` // why it cannot be put on; "": it can
	Note  string `json:"note,omitempty"`  // what more there is to know, such as a version
}
