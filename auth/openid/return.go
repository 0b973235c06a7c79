package openid

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

const maxReturn = 1024 // bytes

// mayReturn fails with ErrReturn unless a browser may be sent to an address after a login: to a path of the registry, to an
// origin that is listed, or to the machine that it runs on. Whoever could send it anywhere could show its user a page that
// asks for a password, right after a login here.
//
// What browsers read otherwise than we do is no address: they take "\" for "/", and leave out tabs and ends of lines.
func (l *Logins) mayReturn(to, origin string) error {
	if to == "" {
		return nil
	}
	refused := func(why string) error {
		return fmt.Errorf(`%w: %s: give callback_ui as "/path", or list its origin in http.auth.openid.callbackAllowOrigins`, ErrReturn, why)
	}
	odd := func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }
	if len(to) > maxReturn || strings.ContainsFunc(to, odd) {
		return refused("it is too long, or has a character that belongs into no address")
	}
	u, err := url.Parse(to)
	if err != nil {
		return refused("it is no address")
	}
	if strings.HasPrefix(to, "/") {
		if strings.HasPrefix(to, "//") || u.Host != "" || u.Scheme != "" {
			return refused("it is one of another host")
		}
		return nil
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return refused("it is neither a path nor one of a page")
	}
	own, err := url.Parse(origin)
	switch {
	case err == nil && strings.EqualFold(own.Host, u.Host): // it may be a proxy that has TLS, and not this connection
	case slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, strings.ToLower(u.Hostname())):
	case slices.Contains(l.origins, strings.ToLower(u.Scheme+"://"+u.Host)):
	default:
		return refused("its origin is not listed")
	}
	return nil
}
