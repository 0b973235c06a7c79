package signed_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"strings"
	"testing"
)

// far is how servers of tests are reached that are not near: by a proxy that knows them by the number of their port.
const far = ".far.example"

func TestMain(m *testing.M) {
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			port, _ := strings.CutSuffix(r.In.URL.Host, far)
			r.Out.URL.Host = "127.0.0.1:" + port
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	defer proxy.Close()
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	if err := os.Setenv("HTTP_PROXY", proxy.URL); err != nil { // is read once, by the first who asks
		panic(err)
	}
	m.Run()
}

// farURL returns the address of a server of this machine as one that is not near.
func farURL(s *httptest.Server) string {
	port := s.URL[strings.LastIndex(s.URL, ":")+1:]
	return "http://" + port + far
}
