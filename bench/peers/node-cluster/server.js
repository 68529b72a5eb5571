// The Node peer: the hello server in workers of Node's cluster module.
//
//	node server.js PORT WORKERS rr|none
//
// rr: the primary accepts and passes connections on, in turn; none: the workers accept for themselves. The primary
// prints its events as wcluster run --json does.
'use strict';

const cluster = require('cluster');
const http = require('http');

const [port, workers, policy] = process.argv.slice(2);

// Date knows milliseconds; a fork takes few of them.
function now() {
  const ms = performance.timeOrigin + performance.now();
  const micros = String(Math.floor((ms % 1) * 1000)).padStart(3, '0');
  return new Date(ms).toISOString().replace('Z', `${micros}Z`);
}

function tell(event, worker) {
  console.log(JSON.stringify({ time: now(), event, worker: worker.id, pid: worker.process.pid }));
}

// Left alone, workers notice only after a while that their primary has ended.
function end() {
  for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
  process.exit(0);
}

function lead() {
  cluster.schedulingPolicy = policy === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR;
  cluster.on('fork', (worker) => tell('fork', worker));
  cluster.on('online', (worker) => tell('online', worker));
  // Without one of its workers the figures would be another server's.
  cluster.on('exit', () => process.exit(1));
  process.on('SIGTERM', end);
  for (let i = 0; i < Number(workers); i++) cluster.fork();
}

function serve() {
  const id = String(cluster.worker.id);
  const body = `hello from worker ${id}\n`;
  const headers = { 'Content-Type': 'text/plain', 'Content-Length': body.length, 'X-Worker': id };
  http.createServer((request, response) => {
    response.writeHead(200, headers);
    response.end(body);
  }).listen(Number(port), '127.0.0.1');
}

if (cluster.isPrimary) lead();
else serve();
