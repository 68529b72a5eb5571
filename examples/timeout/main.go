// Command timeout says so when a worker does not listen in time after it was forked, or dies.
//
//	go run ./examples/timeout -after 2s
//
// It ends with SIGINT or SIGTERM.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/master"
)

func main() {
	// A worker is this program, started again: Init runs the guest there and does not return.
	host.Init()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("timeout: ", err)
	}
}

func errorMsg() { fmt.Println("Something must be wrong with the connection ...") }

func run() error {
	module := flag.String("module", "guests/hello-c/hello.wasm", "the guest, compiled for wasip1")
	listen := flag.String("listen", "tcp://127.0.0.1:8000", "where the workers listen")
	after := flag.Duration("after", 2*time.Second, "how long a worker may take to listen")
	flag.Parse()
	cluster := master.New()
	defer cluster.Close()
	if err := cluster.SetupMaster(master.Settings{Exec: *module, Args: []string{*listen}}); err != nil {
		return err
	}
	timeouts := map[uint32]*time.Timer{} // handlers alone use it, and they are called one at a time
	cluster.On(master.EventFork, func(e master.Event) {
		timeouts[e.Worker.UniqueID()] = time.AfterFunc(*after, errorMsg)
	})
	cluster.On(master.EventListening, func(e master.Event) {
		timeouts[e.Worker.UniqueID()].Stop()
		fmt.Printf("A worker is now connected to %v\n", e.Address)
	})
	cluster.On(master.EventDeath, func(e master.Event) {
		timeouts[e.Worker.UniqueID()].Stop()
		delete(timeouts, e.Worker.UniqueID())
		if !e.Exit.Suicide {
			errorMsg()
		}
	})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if _, err := cluster.Fork(); err != nil {
		return err
	}
	<-signals
	done := make(chan struct{})
	cluster.Disconnect(func() { close(done) })
	<-done
	return nil
}
