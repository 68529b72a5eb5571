package supervisor_test

import (
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

// Four workers that are replaced when they crash, until SIGTERM lets them finish. The program's main begins with
// host.Init() of package host.
func Example() {
	c := master.New()
	defer c.Close()
	if err := c.SetupMaster(master.Settings{Exec: "server.wasm"}); err != nil {
		log.Fatal(err)
	}
	s, err := supervisor.New(c, supervisor.Policy{Workers: 4}, func(n supervisor.Note) { log.Print(n) })
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	select {
	case <-signals:
		s.Shutdown()
	case <-s.Done():
	}
	if r := s.Wait(); r.Code != 0 {
		os.Exit(r.Code)
	}
}
