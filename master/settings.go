package master

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// Settings say what a cluster runs and how. The zero value of a field means its default.
type Settings struct {
	// Exec is the path of the module file, compiled to Wasm for wasip1. Without it nothing can be forked. The file is
	// read once, by Prepare or the first Fork: what is changed on disk afterwards has no effect.
	Exec string

	// Args are the guest's arguments after its own name, which is the base name of Exec.
	Args []string

	// Env is the environment of every guest, K=V each. Nothing is inherited from this process. What is given to Fork
	// follows, then the cluster's own: WCLUSTER_WORKER_ID and NODE_WORKER_ID, and LISTEN_FDS and LISTEN_FDNAMES when
	// Listen is not empty. Of two entries with one key the later wins.
	Env []string

	// Silent keeps the workers' output from Stdout and Stderr. Output still gets it.
	Silent bool

	// Stdout and Stderr take the workers' output, whole lines at a time, one Write each. Default: os.Stdout and
	// os.Stderr. A Write that blocks holds up the workers that have something to say, and nothing else.
	Stdout, Stderr io.Writer

	// Output, if set, takes the workers' output instead of Stdout and Stderr. Each worker's two streams call it from
	// a goroutine of their own, concurrently; while a call blocks, that worker's stream waits, and the worker itself
	// once its pipe is full.
	Output func(OutputLine)

	// Host is the binary to run as worker. Default: this program, which must then call host.Init() first in main.
	Host string

	// Listen are sockets that every guest finds open when it starts, from descriptor 3 on, in order: at most
	// abi.MaxPreopens. They are bound by Prepare or the first Fork.
	Listen []Listener

	// FDs are descriptors of this process that guests may listen on with "fd:N". They remain the caller's.
	FDs []int

	// MayListen, if set, decides whether a guest's request to listen is granted; a refused one gets EACCES. It is
	// called concurrently and must not block. Default: every address but descriptors that are not in FDs.
	MayListen func(abi.Address) bool

	// MaxMessage bounds a message in bytes, both ways: 1 to abi.MaxMessageLimit. Default: abi.DefaultMaxMessage.
	MaxMessage int

	// GracefulTimeout bounds how long a disconnecting worker may take to finish its connections; what is left then is
	// cut. At least a millisecond. Default: 30 s.
	GracefulTimeout time.Duration

	// CacheDir holds compiled modules. It must belong to this user and be writable by nobody else, since what lies in
	// it is executed. Default: $XDG_CACHE_HOME/wcluster, else ~/.cache/wcluster, else a private temporary directory
	// that Close removes.
	CacheDir string

	// Debug makes traps name file and line where the module knows them. Compiled modules load more slowly.
	Debug bool

	// Sandbox is how host processes are locked down before they look at a module. Default: abi.SandboxAuto.
	Sandbox abi.SandboxLevel

	// Limits bound what each worker's guest may use. Default: as much as there is.
	Limits abi.Limits

	// CPU is how many CPUs each worker may use in the mean, such as 0.5, through a cgroup: this process's own must be
	// delegated to it, and it moves to a new one below. Where that cannot be, Prepare fails with abi.SandboxStrict, and
	// otherwise the limit has no effect, which Cluster.Sandbox tells. Default: as many as there are.
	CPU float64

	// CPUTime ends a worker that has used so much CPU time, in whole seconds. Default: never.
	CPUTime time.Duration

	// CPUs is what guests are told about how many workers make sense. Default: runtime.NumCPU().
	CPUs int
}

// Listener is a preopened listening socket.
type Listener struct {
	Name    string      // for LISTEN_FDNAMES; no colon. Default: "listen" and the index
	Address abi.Address // see abi.ParseAddress. Network "fd" names a descriptor of this process, which remains the caller's
}

const (
	defaultGracefulTimeout = 30 * time.Second
	minGracefulTimeout     = time.Millisecond
	minCPU                 = 0.01 // the kernel gives out no less than a millisecond in cpuPeriod
)

var sandboxLevels = []abi.SandboxLevel{abi.SandboxAuto, abi.SandboxStrict, abi.SandboxLog, abi.SandboxOff}

// ErrSetup says that SetupMaster was called again with different settings: they are permanent.
var ErrSetup = errors.New("settings are permanent once set up: use a new Cluster for different ones")

// normalize checks the settings and fills in the defaults. It answers a copy that shares no slice with s.
func (s Settings) normalize() (*Settings, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	s.Args, s.Env, s.FDs = slices.Clone(s.Args), slices.Clone(s.Env), slices.Clone(s.FDs)
	s.Listen = slices.Clone(s.Listen)
	for i := range s.Listen {
		if s.Listen[i].Name == "" {
			s.Listen[i].Name = fmt.Sprintf("listen%d", i)
		}
	}
	if s.Stdout == nil {
		s.Stdout = os.Stdout
	}
	if s.Stderr == nil {
		s.Stderr = os.Stderr
	}
	if s.MaxMessage == 0 {
		s.MaxMessage = abi.DefaultMaxMessage
	}
	if s.GracefulTimeout == 0 {
		s.GracefulTimeout = defaultGracefulTimeout
	}
	if s.Sandbox == "" {
		s.Sandbox = abi.SandboxAuto
	}
	if s.CPUs == 0 {
		s.CPUs = runtime.NumCPU()
	}
	// A worker starts in "/": what is relative is so to this process.
	if s.Host != "" {
		host, err := filepath.Abs(s.Host)
		if err != nil {
			return nil, fmt.Errorf("find host %s: %w", s.Host, err)
		}
		s.Host = host
	}
	return &s, nil
}

func (s *Settings) check() error {
	switch {
	case s.MaxMessage < 0 || s.MaxMessage > abi.MaxMessageLimit:
		return fmt.Errorf("check settings: MaxMessage is %d bytes; choose 1 to %d", s.MaxMessage, abi.MaxMessageLimit)
	case s.GracefulTimeout != 0 && s.GracefulTimeout < minGracefulTimeout:
		return fmt.Errorf("check settings: GracefulTimeout is %v; choose %v or more", s.GracefulTimeout, minGracefulTimeout)
	case s.Sandbox != "" && !slices.Contains(sandboxLevels, s.Sandbox):
		return fmt.Errorf("check settings: Sandbox is %q; choose auto, strict, log or off", s.Sandbox)
	case s.CPU < 0 || s.CPU > 0 && s.CPU < minCPU:
		return fmt.Errorf("check settings: CPU is %v; choose %v or more", s.CPU, minCPU)
	case s.CPUTime < 0 || s.CPUTime%time.Second != 0:
		return fmt.Errorf("check settings: CPUTime is %v; choose whole seconds", s.CPUTime)
	case s.Limits.Memory < 0 || s.Limits.FDs < 0 || s.Limits.Connections < 0:
		return fmt.Errorf("check settings: a limit is negative: %+v; 0 means none", s.Limits)
	case s.CPUs < 0:
		return fmt.Errorf("check settings: CPUs is %d; choose 1 or more", s.CPUs)
	case len(s.Listen) > abi.MaxPreopens:
		return fmt.Errorf("check settings: %d listeners, at most %d", len(s.Listen), abi.MaxPreopens)
	}
	if err := checkEnv(s.Env); err != nil {
		return fmt.Errorf("check settings: %w", err)
	}
	for _, a := range s.Args {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("check settings: argument %q contains a zero byte", a)
		}
	}
	seen := map[abi.Address]bool{}
	for _, l := range s.Listen {
		switch {
		case strings.ContainsAny(l.Name, ":\x00"):
			return fmt.Errorf("check settings: listener name %q contains a colon or a zero byte, which LISTEN_FDNAMES cannot carry", l.Name)
		case seen[l.Address] && !wantsAnyPort(l.Address):
			return fmt.Errorf("check settings: %v is given twice", l.Address)
		}
		seen[l.Address] = true
	}
	return nil
}

// wantsAnyPort is whether two sockets for a are two different ones.
func wantsAnyPort(a abi.Address) bool {
	return strings.HasPrefix(a.Network, "tcp") && a.Port == 0
}

func checkEnv(env []string) error {
	for _, kv := range env {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || key == "" || strings.ContainsRune(kv, 0) {
			return fmt.Errorf("environment entry %q: write KEY=VALUE", kv)
		}
	}
	return nil
}

// mergeEnv joins the lists; of two entries with one key the later wins and stands at the earlier's place.
func mergeEnv(lists ...[]string) []string {
	at := map[string]int{}
	all := []string{}
	for _, kv := range slices.Concat(lists...) {
		key, _, _ := strings.Cut(kv, "=")
		if i, ok := at[key]; ok {
			all[i] = kv
			continue
		}
		at[key] = len(all)
		all = append(all, kv)
	}
	return all
}

// equal compares normalized settings. Functions are equal if they are the same code, writers if they are the same.
func (s *Settings) equal(o *Settings) bool {
	return s.Exec == o.Exec && s.Silent == o.Silent && s.Host == o.Host && s.MaxMessage == o.MaxMessage &&
		s.GracefulTimeout == o.GracefulTimeout && s.CacheDir == o.CacheDir && s.Debug == o.Debug && s.CPUs == o.CPUs &&
		s.Sandbox == o.Sandbox && s.Limits == o.Limits && s.CPUTime == o.CPUTime && s.CPU == o.CPU &&
		slices.Equal(s.Args, o.Args) && slices.Equal(s.Env, o.Env) && slices.Equal(s.FDs, o.FDs) &&
		slices.Equal(s.Listen, o.Listen) &&
		sameWriter(s.Stdout, o.Stdout) && sameWriter(s.Stderr, o.Stderr) &&
		sameFunc(s.Output, o.Output) && sameFunc(s.MayListen, o.MayListen)
}

func sameWriter(a, b io.Writer) bool {
	// A writer that cannot be compared is never the same.
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

func sameFunc(a, b any) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}
