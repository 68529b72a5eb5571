// Command broadcast sends every worker the same message, and prints what each makes of it.
//
//	go run ./examples/broadcast -n 4
package main

import (
	"flag"
	"fmt"
	"log"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/master"
)

func main() {
	// A worker is this program, started again: Init runs the guest there and does not return.
	host.Init()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("broadcast: ", err)
	}
}

// eachWorker goes through all workers.
func eachWorker(cluster *master.Cluster, callback func(*master.Worker)) {
	for _, worker := range cluster.Workers() {
		callback(worker)
	}
}

func run() error {
	module := flag.String("module", "testdata/guests/echo-messages/echo-messages.wasm", "the guest, compiled for wasip1")
	n := flag.Int("n", 2, "how many workers")
	flag.Parse()
	cluster := master.New()
	defer cluster.Close()
	if err := cluster.SetupMaster(master.Settings{Exec: *module}); err != nil {
		return err
	}
	over := make(chan struct{}, *n) // a worker has answered, or has died before it could
	cluster.On(master.EventMessage, func(e master.Event) {
		fmt.Printf("%v: %s\n", e.Worker, e.Message)
		over <- struct{}{}
	})
	cluster.On(master.EventDeath, func(e master.Event) {
		if !e.Exit.Suicide {
			log.Printf("%v: %v", e.Worker, e.Exit)
			over <- struct{}{}
		}
	})
	for range *n {
		if _, err := cluster.Fork(); err != nil {
			return err
		}
	}
	eachWorker(cluster, func(worker *master.Worker) {
		if err := worker.Send([]byte("big announcement to all workers")); err != nil {
			log.Print(err) // its death is told
		}
	})
	for range *n {
		<-over
	}
	done := make(chan struct{})
	cluster.Disconnect(func() { close(done) })
	<-done
	return nil
}
