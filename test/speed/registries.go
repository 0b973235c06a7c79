package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// registry is one of those that are compared: one process or several.
type registry struct {
	name      string
	addresses []string
	processes []*process
}

// contender is a registry that is yet to be started, with an empty store in a directory.
type contender struct {
	name  string
	start func(ctx context.Context, r *registry, dir string) error
}

// contenders returns who is compared; the first is the measure of the others.
func contenders(o options) []contender {
	all := []contender{
		{"distribution", func(ctx context.Context, r *registry, dir string) error {
			return r.startDistribution(ctx, o.distribution, dir)
		}},
		{"zot", func(ctx context.Context, r *registry, dir string) error { return r.startZot(ctx, o.zot, dir, 1) }},
	}
	for _, program := range o.also {
		all = append(all, contender{filepath.Base(program), func(ctx context.Context, r *registry, dir string) error {
			return r.startZot(ctx, program, dir, 1)
		}})
	}
	if o.three {
		all = append(all, contender{"zot, 3 nodes", func(ctx context.Context, r *registry, dir string) error {
			return r.startZot(ctx, o.zot, dir, 3)
		}})
	}
	return all
}

// open starts a registry in a directory of its own. The caller closes it.
func (c contender) open(ctx context.Context, dir string) (*registry, error) {
	r := &registry{name: c.name}
	if err := c.start(ctx, r, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.name, err), r.close())
	}
	return r, nil
}

// close stops what was started.
func (r *registry) close() error {
	var errs []error
	for _, p := range r.processes {
		errs = append(errs, p.stop())
	}
	return errors.Join(errs...)
}

// busy is the processor time that all processes have used.
func (r *registry) busy() (sum time.Duration) {
	for _, p := range r.processes {
		sum += p.busy()
	}
	return sum
}

// distributionConfig is what distribution's own example says (cmd/registry/config-example.yml), which keeps
// descriptors of blobs in memory, with deletes allowed as zot has them, and as few lines in the log.
const distributionConfig = `
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: %s
  delete:
    enabled: true
http:
  addr: %s
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
`

func (r *registry) startDistribution(ctx context.Context, program, dir string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "config.yml")
	config := fmt.Sprintf(distributionConfig, filepath.Join(dir, "data"), address)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	// As in its own image: without it each request is traced for a collector that is not there.
	p, err := start(dir, []string{"OTEL_TRACES_EXPORTER=none"}, program, "serve", file)
	if err != nil {
		return err
	}
	r.addresses, r.processes = append(r.addresses, address), append(r.processes, p)
	return ready(ctx, "http://"+address+"/v2/")
}

// startZot starts a cluster of so many nodes.
func (r *registry) startZot(ctx context.Context, program, dir string, nodes int) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("of nodes on one machine, for as long as it is measured"), 0o600); err != nil {
		return err
	}
	var members []string
	for range nodes {
		peer, err := freeAddress()
		if err != nil {
			return err
		}
		members = append(members, peer)
	}
	for i := range members {
		section := map[string]any{
			"node": fmt.Sprintf("n%d", i+1), "listen": members[i], "advertise": members[i], "members": members, "secretFile": secret,
		}
		if nodes == 1 {
			section = nil
		}
		if err := r.startNode(program, filepath.Join(dir, fmt.Sprintf("n%d", i+1)), section); err != nil {
			return err
		}
	}
	for _, address := range r.addresses {
		if err := ready(ctx, "http://"+address+"/readyz?for=write"); err != nil {
			return err
		}
	}
	return nil
}

// startNode starts a node that is alone if it has no section.
func (r *registry) startNode(program, dir string, section map[string]any) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	config := map[string]any{
		"storage": map[string]any{"rootDirectory": filepath.Join(dir, "data")},
		"http":    map[string]any{"address": host, "port": port},
		"log":     map[string]any{"level": "error"},
	}
	if section != nil {
		config["cluster"] = section
	}
	content, err := json.Marshal(config)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	p, err := start(dir, nil, program, "serve", file)
	if err != nil {
		return err
	}
	r.addresses, r.processes = append(r.addresses, address), append(r.processes, p)
	return nil
}
