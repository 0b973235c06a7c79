package record

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// masked stands where a secret was.
const masked = "******"

// What is written of a request at most: the rest of 64 KiB of header says nothing to anybody, and would fill disks.
const (
	maxPath   = 4 << 10
	maxValue  = 512
	maxFields = 64
)

// isSecretHeader reports whether a header of a request holds a secret, by its name: those that are known, and whatever
// proxies and clients call theirs.
func isSecretHeader(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Connection", "Content-Length", "Content-Range", "Content-Type",
		"If-Match", "If-None-Match", "If-Range", "Origin", "Range", "Referer", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id":
		return false // without a search
	}
	return hasWord(name, "auth", "cookie", "token", "secret", "passw", "credential", "apikey", "api-key", "access-key", "signature", "x-zot-caller", "x-registry-")
}

// isSecretField reports whether a field of a query holds a secret, by its name.
func isSecretField(name string) bool {
	switch strings.ToLower(name) {
	case "code", "state", "nonce", "assertion", "code_verifier", "session_state", "samlresponse", "key", "sig", "ticket":
		return true
	}
	return hasWord(name, "token", "secret", "passw", "credential", "authorization", "apikey", "api-key", "api_key", "access_key", "signature", "jwt", "session")
}

func hasWord(name string, words ...string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(name, word) })
}

// headersOf are those of a request that may be written.
func headersOf(h http.Header) http.Header {
	shown := make(http.Header, min(len(h), maxFields))
	for name, values := range h {
		if len(shown) == maxFields {
			break
		}
		values = values[:min(len(values), maxFields)]
		switch {
		case isSecretHeader(name):
			values = []string{masked}
		case slices.ContainsFunc(values, needsCare):
			values = slices.Clone(values)
			for i, v := range values {
				values[i] = cut(valueOf(v), maxValue)
			}
		}
		shown[cut(name, maxValue)] = values
	}
	return shown
}

// needsCare reports whether a header's value may have a secret in it, whatever its name, or is long.
func needsCare(v string) bool {
	return len(v) > maxValue || strings.ContainsAny(v, "?@") || isCredentials(v)
}

func isCredentials(v string) bool {
	scheme, _, more := strings.Cut(v, " ")
	return more && (strings.EqualFold(scheme, "basic") || strings.EqualFold(scheme, "bearer"))
}

// valueOf is a header's value without credentials. It may be an address, as a Referer is, with a password or a query.
func valueOf(v string) string {
	if isCredentials(v) {
		return masked
	}
	if scheme, rest, is := strings.Cut(v, "://"); is {
		host := rest
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			host = rest[:end]
		}
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			v = scheme + "://" + masked + rest[at:]
		}
	}
	before, query, is := strings.Cut(v, "?")
	if !is {
		return v
	}
	return before + "?" + queryOf(query)
}

// pathOf is the path of a request with its query, as they came.
func pathOf(u *url.URL) string {
	p := u.EscapedPath()
	if u.RawQuery != "" {
		p += "?" + queryOf(u.RawQuery)
	}
	return cut(p, maxPath)
}

// queryOf is a query without its secrets. What cannot be read is hidden as well.
func queryOf(raw string) string {
	if !strings.Contains(raw, "=") {
		return raw
	}
	var b strings.Builder
	for raw != "" {
		end := strings.IndexAny(raw, "&;")
		if end < 0 {
			end = len(raw)
		}
		name, _, _ := strings.Cut(raw[:end], "=")
		if plain, err := url.QueryUnescape(name); err != nil || isSecretField(plain) {
			b.WriteString(name + "=" + masked)
		} else {
			b.WriteString(raw[:end])
		}
		if end < len(raw) {
			b.WriteByte(raw[end])
			end++
		}
		raw = raw[end:]
	}
	return b.String()
}

// cut is the beginning of a text.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
