package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// watched is a configuration that is watched, and what came of it.
type watched struct {
	*configuration
	t     *testing.T
	path  string
	log   output
	level output // what was taken in, one after the other
	fails error  // what nobody can make ready

	discarded int
}

// with is a whole file with this beside what each has.
func with(more string) string { return `{"storage": {"rootDirectory": "/var/lib/zot"}` + more + `}` }

// leveled is a whole file with a level.
func leveled(level string) string { return with(`, "log": {"level": "` + level + `"}`) }

// newWatched has a file of that content at path.
func newWatched(t *testing.T, path, content string) *watched {
	t.Helper()
	w := &watched{t: t, path: path}
	put(t, path, content)
	s := setting{file: configFile{path: path}, content: []byte(content), log: hclog.New(&hclog.LoggerOptions{Output: &w.log, Level: hclog.Debug, JSONFormat: true})}
	var err error
	if s.config, s.notes, err = s.file.parse(s.content); err != nil {
		t.Fatal(err)
	}
	w.configuration = newConfiguration(
		s,
		follower{levelToGoBy, func(c config.Config) (draft, error) {
			return draft{func() { _, _ = w.level.Write([]byte(c.Log.Level + " ")) }, func() { w.discarded++ }}, nil
		}},
		follower{everything, func(config.Config) (draft, error) { return swap(func() {}), w.fails }},
	)
	return w
}

// says has the file hold something else, as whoever writes in place does.
func (w *watched) says(content string) { put(w.t, w.path, content) }

// want compares what was taken in, and how often the log has had some words.
func (w *watched) want(when, levels string, said map[string]int) {
	w.t.Helper()
	if got := strings.TrimSpace(w.level.String()); got != levels {
		w.t.Errorf("%s: went by %q, want %q", when, got, levels)
	}
	for words, times := range said {
		if n := strings.Count(w.log.String(), words); n != times {
			w.t.Errorf("%s: %q is %d times in the log, want %d:\n%s", when, words, n, times, w.log.String())
		}
	}
}

// during runs do beside the watch, with a clock of its own.
func (w *watched) during(do func(rest func(time.Duration))) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.watch(ctx); err != nil {
			w.t.Error(err)
		}
	})
	do(func(d time.Duration) {
		time.Sleep(d)
		synctest.Wait()
	})
	cancel()
	running.Wait()
}

const (
	unusable = "configuration is unusable"
	changed  = `"configuration changed"`
)

// However a file is replaced, it is found within a poll, and taken in when it has stayed for a moment.
func TestConfigurationIsWatched(t *testing.T) {
	t.Parallel()
	replaced := map[string]func(t *testing.T, path, content string){
		"in place": func(t *testing.T, path, content string) {
			t.Helper()
			put(t, path, content)
		},
		"by rename": func(t *testing.T, path, content string) {
			t.Helper()
			put(t, path+".new", content)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, replace := range replaced {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config.json")
			synctest.Test(t, func(t *testing.T) {
				w := newWatched(t, path, leveled("info"))
				w.during(func(rest func(time.Duration)) {
					rest(time.Minute)
					w.want("nothing has changed", "", map[string]int{"@message": 0})
					replace(t, path, leveled("warn"))
					rest(configurationPoll)
					w.want("it was seen once", "", nil)
					rest(configurationRest)
					w.want("it stays", "warn", map[string]int{changed: 1, `"keys":"log.level"`: 1})
					replace(t, path, leveled("warn"))
					rest(time.Minute)
					w.want("the same again", "warn", map[string]int{changed: 1})
					replace(t, path, leveled("error"))
					rest(configurationPoll)
					replace(t, path, leveled("info"))
					rest(configurationRest)
					w.want("it goes on changing", "warn", nil)
					rest(configurationRest)
					w.want("it stays", "warn info", map[string]int{changed: 2})
				})
			})
		})
	}
}

// Kubernetes has the name lead to ..data/config.json, ..data to a directory, and another ..data renamed over that.
func TestConfigurationInAConfigMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	publish := func(version, content string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, version, "config.json"), content)
		if err := errors.Join(os.Symlink(version, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", leveled("info"))
	path := filepath.Join(dir, "config.json")
	if err := os.Symlink(filepath.Join("..data", "config.json"), path); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, path, leveled("info"))
		w.during(func(rest func(time.Duration)) {
			publish("..2", leveled("warn"))
			rest(configurationPoll + configurationRest)
			w.want("the first", "warn", nil)
			publish("..3", leveled("debug"))
			if err := os.RemoveAll(filepath.Join(dir, "..2")); err != nil {
				t.Fatal(err)
			}
			rest(configurationPoll + configurationRest)
			w.want("the second", "warn debug", map[string]int{changed: 2, unusable: 0})
		})
	})
}

// What is wrong with a file is said once, all of it, and changes nothing; who asks hears it again.
func TestConfigurationThatIsUnusable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.json")
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, path, leveled("info"))
		w.during(func(rest func(time.Duration)) {
			wrong := with(`, "log": {"level": "loud"}, "http": {"port": "nine", "ports": "x", "auth": {"ldap": {"bindPassword": "hunter2"}}}`)
			said := map[string]int{unusable: 7, `\"loud\" is not known`: 1, `"key":"http.port"`: 1, `did you mean \"port\"`: 1, "hunter2": 0, changed: 0}
			w.says(wrong)
			rest(time.Minute)
			w.want("wrong", "", said)
			w.says(wrong + " ")
			rest(time.Minute)
			for words := range said {
				said[words] *= 2
			}
			w.want("wrong in other words", "", said)
			w.reload()
			rest(0)
			w.want("asked", "", map[string]int{unusable: 21})

			w.says(leveled("info"))
			rest(time.Minute)
			w.want("as it was", "", map[string]int{"again what the node goes by": 1, changed: 0})

			w.says(leveled("warn")[:30])
			rest(time.Minute)
			w.want("half of it", "", map[string]int{"the file ends early": 1})
			w.says(leveled("warn"))
			rest(time.Minute)
			w.want("all of it", "warn", map[string]int{"the file ends early": 1, changed: 1})

			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			rest(time.Minute)
			w.want("it is gone", "warn", map[string]int{"no such file": 1})
			w.says(leveled("debug"))
			rest(time.Minute)
			w.want("it is back", "warn debug", map[string]int{changed: 2})
		})
	})
}

// The first lines of a file may be valid, and say nothing of who may do what.
func TestConfigurationOfWhichHalfIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	synctest.Test(t, func(t *testing.T) {
		const half, rest = "storage: {rootDirectory: /var/lib/zot}\n", "log: {level: warn}"
		w := newWatched(t, path, half+"log: {level: info}")
		w.during(func(wait func(time.Duration)) {
			wait(configurationPoll - time.Millisecond)
			w.says(strings.TrimSuffix(half, "\n"))
			wait(2 * time.Millisecond)
			w.says(half + rest)
			wait(time.Minute)
			w.want("all of it", "warn", nil)
		})
	})
}

// Who sends a signal says that the file is whole.
func TestConfigurationWhenAsked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.json")
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, path, leveled("info"))
		w.during(func(rest func(time.Duration)) {
			w.says(leveled("warn"))
			w.reload()
			rest(0)
			w.want("at once", "warn", nil)
			w.reload()
			rest(time.Minute)
			w.want("the same", "warn", map[string]int{changed: 1})
		})
	})
}

// A file that is named there may come after the configuration that names it.
func TestConfigurationThatNamesAFileToCome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, passwords := filepath.Join(dir, "config.json"), filepath.Join(dir, "htpasswd")
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, path, leveled("info"))
		w.during(func(rest func(time.Duration)) {
			w.says(with(fmt.Sprintf(`, "log": {"level": "warn"}, "http": {"auth": {"htpasswd": {"path": %q}}}`, passwords)))
			rest(time.Minute)
			w.want("without the file", "", map[string]int{unusable: 1, "http.auth.htpasswd.path": 2})
			put(t, passwords, "")
			rest(configurationPoll)
			w.want("with it", "warn", map[string]int{unusable: 1, `"keys":"http.auth.htpasswd, log.level"`: 1})
		})
	})
}

// What cannot be made ready leaves all as it is.
func TestConfigurationIsTakenAsAWhole(t *testing.T) {
	t.Parallel()
	w := newWatched(t, filepath.Join(t.TempDir(), "config.json"), leveled("info"))
	w.says(leveled("warn"))
	w.fails = errors.New("no luck")
	for range 2 {
		w.look(true)
	}
	w.want("it cannot be", "", map[string]int{"no luck": 2, changed: 0})
	if w.discarded != 2 || w.now.Log.Level != "info" {
		t.Errorf("%d drafts were discarded, and the node goes by %q", w.discarded, w.now.Log.Level)
	}
	w.fails = nil
	w.look(false)
	w.want("now it can", "warn", map[string]int{changed: 1})
	if w.discarded != 2 {
		t.Errorf("%d drafts were discarded", w.discarded)
	}
}

// A line for each key that a node does not take in, and none of it in what it goes by.
func TestConfigurationThatNeedsARestart(t *testing.T) {
	t.Parallel()
	w := newWatched(t, filepath.Join(t.TempDir(), "config.json"), leveled("info"))
	w.says(`{"storage": {"rootDirectory": "/elsewhere", "gc": false, "subPaths": {"/a": {"rootDirectory": "/a"}}},
		"http": {"port": "9999"}, "log": {"level": "warn"}, "cluster": {"listen": "127.0.0.1:0", "advertise": "a:1"}}`)
	w.look(true)
	w.want("what can change", "warn", map[string]int{
		`"keys":"storage.gc, log.level"`: 1, "only after a restart": 4, `"key":"storage.rootDirectory"`: 1, `"key":"storage.subPaths./a"`: 1,
		`"key":"http.port"`: 1, `"key":"cluster"`: 1, "9999": 0,
	})
	if c := w.now; c.Storage.RootDirectory != "/var/lib/zot" || c.HTTP.Port != "8080" || c.Storage.GC || len(c.Storage.SubPaths) > 0 || !c.Cluster.Alone {
		t.Errorf("the node goes by %+v", c)
	}
	w.says(leveled("debug"))
	w.look(true)
	w.want("back again", "warn debug", map[string]int{`"keys":"storage.gc, log.level"`: 2, "only after a restart": 4})
}

// What is to be known of a valid file is said when it is new.
func TestConfigurationNotes(t *testing.T) {
	t.Parallel()
	const note = "names no file, so nobody can log in by it"
	file := func(level string) string {
		return with(`, "log": {"level": "` + level + `"}, "http": {"auth": {"htpasswd": {"path": ""}}}`)
	}
	w := newWatched(t, filepath.Join(t.TempDir(), "config.json"), file("info"))
	w.says(file("warn"))
	w.look(true)
	w.want("it was there at the start", "warn", map[string]int{note: 0})
	w.says(leveled("info"))
	w.look(true)
	w.says(file("info"))
	w.look(true)
	w.want("it has come back", "warn info", map[string]int{note: 1})
}
