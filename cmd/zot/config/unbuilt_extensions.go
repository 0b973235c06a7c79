package config

import (
	"path"
	"strings"
	"time"
)

// readUnbuilt reads the extensions of zot that this version does not have.
func readUnbuilt(s *section) {
	s.unbuilt("metrics", "", readMetrics)
	s.unbuilt("sync", "nothing is fetched from other registries", readSync)
	s.unbuilt("search", "", readSearch)
	s.unbuilt("ui", "", (*section).enable)
	s.unbuilt("lint", "manifests are taken with and without annotations", func(s *section) {
		s.enable()
		s.list("mandatoryAnnotations", new([]string))
	})
	s.unbuilt("events", "", func(s *section) {
		s.enable()
		s.sections("sinks", readSink)
	})
	if s.isOn("ui") && !s.isOn("search") {
		s.problem(s.key("ui"), `add "search": {} to extensions, or remove ui`, "asks for search, which is off")
	}
}

// enable reads whether a section is on.
func (s *section) enable() { s.boolean("enable", new(true)) }

// texts makes keys known that hold text.
func (s *section) texts(names ...string) {
	for _, name := range names {
		s.text(name, new(string))
	}
}

func readMetrics(s *section) {
	s.enable()
	s.section("prometheus", func(s *section) {
		at := "/metrics"
		s.word("path", &at)
		if !strings.HasPrefix(at, "/") || path.Clean(at) != at || at == "/" || at == "/v2" {
			s.problem(s.key("path"), `write it as "/metrics"`, "%q is no path of its own", at)
		}
	})
}

func readSearch(s *section) {
	s.enable()
	s.section("cve", func(s *section) {
		every := 2 * time.Hour
		if s.duration("updateInterval", &every); every < 2*time.Hour {
			s.note(s.key("updateInterval"), "%s will count as %s, the shortest", every, 2*time.Hour)
		}
		s.section("trivy", func(s *section) {
			s.texts("dbRepository", "javaDBRepository")
			readFindings(s)
		})
		readFindings(s)
	})
}

// readFindings reads what has stood in one section or the other.
func readFindings(s *section) {
	s.list("vulnSeveritySources", new([]string))
	s.section("sbom", func(s *section) {
		s.enable()
		s.texts("format")
	})
}

func readSink(s *section) {
	kind := ""
	s.oneOf("type", &kind, "http", "nats")
	s.texts("address", "channel", "proxy", "username", "password", "file", "token", "caCertFile", "certFile", "keyFile")
	s.duration("timeout", new(time.Duration))
	s.section("headers", (*section).ignoreRest)
	s.section("credentials", func(s *section) { s.texts("username", "password", "file", "token") })
	s.section("tlsConfig", func(s *section) { s.texts("caCertFile", "certFile", "keyFile") })
}
