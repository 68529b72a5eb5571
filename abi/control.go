package abi

import "unicode/utf8"

// The bodies of control frames, in JSON: they are rare, and a person can read a trace of them.

// ConfigFDs is how many descriptors a Config frame carries before those of the preopened listeners: the module, then
// the scoreboard.
const ConfigFDs = 2

// MaxPreopens bounds the preopened listeners of a worker.
const MaxPreopens = 64

// Hello is the first frame each way.
type Hello struct {
	Protocol int    `json:"protocol"`
	Build    string `json:"build"`
}

// Config tells a worker who it is and what it runs. Its frame carries ConfigFDs descriptors (the module's bytes as a
// sealed memfd, the scoreboard's page) and then one for each of Preopens, in order. JSON holds text alone: a byte of
// Args or Env that is no UTF-8 arrives as U+FFFD.
type Config struct {
	ID         uint32    `json:"id"`     // 0 in the master role
	Master     bool      `json:"master"` // the guest plays the master role: see role.go
	Name       string    `json:"name"`   // of the module, for people
	Args       []string  `json:"args"`   // of the guest, its own name first
	Env        []string  `json:"env"`    // of the guest, K=V
	CPUs       int       `json:"cpus"`
	MaxMessage uint32    `json:"maxMessage"`
	CacheDir   string    `json:"cacheDir"` // where the compiled module lies
	Debug      bool      `json:"debug"`    // traps name file and line where the module knows them
	Preopens   []Preopen `json:"preopens"`
	Limits     Limits    `json:"limits"`
	Sandbox    Sandbox   `json:"sandbox"`
	// GracefulTimeout bounds a drain, in nanoseconds. At its end the worker cuts what is left.
	GracefulTimeout int64 `json:"gracefulTimeout"`
}

// Limits are what a worker's guest may use. Zero of each: as much as there is.
type Limits struct {
	Memory      int64 `json:"memory"`      // bytes of linear memory, a multiple of PageSize
	FDs         int   `json:"fds"`         // open descriptors of the guest
	Connections int   `json:"connections"` // accepted and open
}

// PageSize is a page of Wasm, in bytes: the unit of guest memory.
const PageSize = 64 << 10

// Preopen is a listening socket that the guest finds open when it starts.
type Preopen struct {
	Name    string  `json:"name"`
	Address Address `json:"address"`
}

// Compile asks a compiler for the native code of the module that its frame carries, to be left in CacheDir, or, where
// CacheDir is empty, for the report alone.
type Compile struct {
	Name     string  `json:"name"`
	CacheDir string  `json:"cacheDir"`
	Debug    bool    `json:"debug"`
	Sandbox  Sandbox `json:"sandbox"`
}

// Report says what a module is.
type Report struct {
	// Error says in one line why the module cannot run here, and what to do; Reason names the class of it. The other
	// fields then hold what could be learned.
	Error  string `json:"error,omitempty"`
	Reason Reason `json:"reason,omitempty"`

	Kind    ModuleKind `json:"kind"`
	Aware   bool       `json:"aware"` // imports something of module "wcluster"
	Imports []Import   `json:"imports"`
	Exports []Export   `json:"exports"`
	Missing []string   `json:"missing"` // imports that this build does not provide, as "module.name"
	Memory  *Memory    `json:"memory"`  // nil: the module has none
	Bytes   int64      `json:"bytes"`
}

// Reason classes what is wrong with a module.
type Reason string

const (
	ReasonNotWasm   Reason = "not-wasm"
	ReasonComponent Reason = "component"
	ReasonInvalid   Reason = "invalid"
	ReasonFeature   Reason = "feature"
	ReasonImport    Reason = "import"
	ReasonNoEntry   Reason = "no-entry"
	ReasonInternal  Reason = "internal"
)

// ModuleKind is how a module wants to be started.
type ModuleKind string

const (
	KindCommand ModuleKind = "command" // exports _start
	KindReactor ModuleKind = "reactor" // exports callbacks, no _start
	KindLibrary ModuleKind = "library" // neither: nothing to run
)

// Import is one import of a module.
type Import struct {
	Module    string `json:"module"`
	Name      string `json:"name"`
	Signature string `json:"signature"` // "func(i32, i64) i32", "memory", "global", "table"
	Provided  bool   `json:"provided"`
}

// Export is one export of a module.
type Export struct {
	Name      string `json:"name"`
	Signature string `json:"signature"`
}

// Memory is a module's linear memory in pages of 64 KiB.
type Memory struct {
	MinPages uint32  `json:"minPages"`
	MaxPages *uint32 `json:"maxPages"` // nil: up to the limit of the cluster
}

// Listen asks the master for a listening socket.
type Listen struct {
	Address Address `json:"address"`
	Backlog int     `json:"backlog"` // 0: the system's largest
	Flags   uint32  `json:"flags"`   // ListenIPv6Only …
}

// ListenDone answers Listen. Its frame carries the socket if Errno is 0.
type ListenDone struct {
	Errno   Errno   `json:"errno"`
	Address Address `json:"address"` // as bound: port 0 has become a real one
}

// Listening says that the guest waits for connections on a socket for the first time.
type Listening struct {
	Address Address `json:"address"`
	Fd      int     `json:"fd"` // the number the guest asked for with "fd:N", or -1
}

// Fault tells why the process is about to exit, where its exit code cannot.
type Fault struct {
	Text   string      `json:"text"`            // one line
	Stack  string      `json:"stack,omitempty"` // the Wasm stack, a line per frame
	Reason FaultReason `json:"reason"`
}

// FaultReason classes a Fault.
type FaultReason string

const (
	FaultTrap     FaultReason = "trap"     // the guest did something Wasm forbids
	FaultStart    FaultReason = "start"    // the module could not be loaded or instantiated
	FaultProtocol FaultReason = "protocol" // the master broke the protocol, or is of another build
	FaultLimit    FaultReason = "limit"    // the guest needed more than a limit allows; the text begins with which
	FaultSandbox  FaultReason = "sandbox"  // the process could not be locked down, or tried to do what is forbidden
	FaultHost     FaultReason = "host"     // a defect or a lack of resources in the worker process itself
)

// MaxFaultText bounds Text and Stack, each: a deep recursion has a stack of megabytes.
const MaxFaultText = 64 << 10

// Clip cuts Text and Stack to MaxFaultText: before sending, and again after receiving, from a worker that did not.
func (f *Fault) Clip() {
	f.Text = clip(f.Text, MaxFaultText)
	f.Stack = clip(f.Stack, MaxFaultText)
}

// clip cuts s to at most n bytes, between two characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Drained says how a drain ended.
type Drained struct {
	Cut int `json:"cut"` // connections that were still open at the graceful timeout
}
