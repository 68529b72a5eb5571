// Command forcekill lets a worker finish its connections when it is told to end, but only for two seconds.
//
//	go run ./examples/forcekill -after 2s
//
// SIGINT or SIGTERM disconnects the worker. One that is not gone in time is destroyed; Settings.GracefulTimeout would do
// the same for every worker, with SIGKILL.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/master"
)

func main() {
	// A worker is this program, started again: Init runs the guest there and does not return.
	host.Init()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("forcekill: ", err)
	}
}

func run() error {
	module := flag.String("module", "guests/hello-c/hello.wasm", "the guest, compiled for wasip1")
	listen := flag.String("listen", "tcp://127.0.0.1:8000", "where the worker listens")
	after := flag.Duration("after", 2*time.Second, "how long a worker may take to finish its connections")
	flag.Parse()
	address, err := abi.ParseAddress(*listen)
	if err != nil {
		return err
	}
	cluster := master.New()
	defer cluster.Close()
	if err := cluster.SetupMaster(master.Settings{Exec: *module, Listen: []master.Listener{{Address: address}}}); err != nil {
		return err
	}
	cluster.On(master.EventListening, func(e master.Event) { fmt.Printf("%v listens on %v\n", e.Worker, e.Address) })
	var timeout *time.Timer // handlers alone use it, and they are called one at a time
	cluster.On(master.EventDisconnecting, func(e master.Event) { timeout = time.AfterFunc(*after, e.Worker.Destroy) })
	cluster.On(master.EventDisconnect, func(master.Event) {
		if timeout != nil {
			timeout.Stop()
		}
	})
	gone := make(chan struct{})
	cluster.On(master.EventDeath, func(e master.Event) {
		fmt.Printf("%v: %v\n", e.Worker, e.Exit)
		close(gone)
	})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	worker, err := cluster.Fork()
	if err != nil {
		return err
	}
	select {
	case <-signals:
		worker.Disconnect()
		<-gone
	case <-gone:
	}
	return nil
}
