package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"sort"
	"strings"
	"time"
)

// httpForm is how a form makes the same calls.
type httpForm struct {
	isClosing bool
	together  int
}

var httpForms = map[string]httpForm{
	"plain":   {false, 1},
	"closing": {true, 1},
	"pooled":  {false, 8},
	"changed": {false, 1},
}

type httpProgram struct {
	form   httpForm
	client *http.Client
	base   string
}

func runHTTP(form string) {
	p := &httpProgram{form: httpForms[form]}
	p.base = "http://" + os.Getenv("HTTP_HOST") + ":" + os.Getenv("HTTP_PORT")
	p.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives:     p.form.isClosing,
		ExpectContinueTimeout: 10 * time.Second,
		MaxConnsPerHost:       p.form.together,
	}}
	sections := []func(){p.methods, p.bodies, p.framing, p.ranges, p.redirects, p.statuses, p.cookies, p.together}
	for n, section := range sections {
		say("section", n)
		section()
	}
	if form == "changed" {
		p.changed()
	}
}

// do sends a request and says all of the response.
func (p *httpProgram) do(step, method, path string, body io.Reader, headers ...string) {
	request := must(http.NewRequest(method, p.base+path, body))
	for n := 0; n+1 < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	response, err := p.client.Do(request)
	if err != nil {
		say(step, err.Error())
		return
	}
	p.show(step, response)
}

func (p *httpProgram) show(step string, response *http.Response) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	lines := []string{}
	for name, values := range response.Header {
		if name != "Connection" {
			lines = append(lines, name+": "+strings.Join(values, " | "))
		}
	}
	sort.Strings(lines)
	say(step, response.Status, response.Proto, lines, response.ContentLength, fmt.Sprint(response.TransferEncoding),
		response.Uncompressed, string(body), err, fmt.Sprint(response.Trailer))
}

func (p *httpProgram) methods() {
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		var body io.Reader
		if strings.HasPrefix(method, "P") {
			body = strings.NewReader(method + " ü")
		}
		p.do(method, method, "/echo/"+method+"?q=a%20b&empty=", body, "X-Custom", "yes")
	}
	p.do("HEAD", "HEAD", "/text", nil)
	p.do("json", "GET", "/json", nil)
	p.do("text", "GET", "/text", nil)
	p.do("empty", "GET", "/empty", nil)
}

func (p *httpProgram) bodies() {
	p.do("json", "POST", "/echo", strings.NewReader(`{"a": ["ü"]}`), "Content-Type", "application/json")
	p.do("large", "POST", "/echo", bytes.NewReader(bytes.Repeat([]byte("kebpf "), 250_000)))
	p.do("chunked", "POST", "/echo", io.MultiReader(strings.NewReader("first "), strings.NewReader("second")))
	continued := false
	trace := &httptrace.ClientTrace{Got100Continue: func() { continued = true }}
	request := must(http.NewRequest("POST", p.base+"/echo", strings.NewReader("waited for")))
	request.Header.Set("Expect", "100-continue")
	response := must(p.client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace))))
	p.show("expect", response)
	say("continued", continued)
	form := must(p.client.PostForm(p.base+"/echo", url.Values{"a": {"1 2", "ü"}}))
	p.show("form", form)
}

func (p *httpProgram) framing() {
	p.do("chunked", "GET", "/chunked", nil)
	p.do("gzip, by itself", "GET", "/gzip", nil)
	request := must(http.NewRequest("GET", p.base+"/gzip", nil))
	request.Header.Set("Accept-Encoding", "gzip")
	response := must(p.client.Do(request))
	text := must(io.ReadAll(must(gzip.NewReader(response.Body))))
	say("gzip, by hand", response.Header.Get("Content-Encoding"), string(text), response.Body.Close())
	p.do("big", "GET", "/big", nil)
	p.do("until the end", "GET", "/close", nil)
}

func (p *httpProgram) ranges() {
	for _, wanted := range []string{"bytes=0-9", "bytes=1500000-", "bytes=-5"} {
		p.do(wanted, "GET", "/big", nil, "Range", wanted)
	}
	p.do("not modified", "GET", "/big", nil, "If-None-Match", `"big-1"`)
}

func (p *httpProgram) redirects() {
	p.do("followed", "GET", "/redirect/3", nil)
	p.do("by POST", "POST", "/redirect/2", strings.NewReader("lost on the way"))
	plain := *p.client
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p.show("not followed", must(plain.Get(p.base+"/redirect/1")))
}

func (p *httpProgram) statuses() {
	for _, status := range []int{201, 400, 401, 404, 418, 500, 503} {
		p.do(fmt.Sprint(status), "GET", fmt.Sprint("/status/", status), nil)
	}
}

func (p *httpProgram) cookies() {
	response := must(p.client.Get(p.base + "/cookies"))
	for _, one := range response.Cookies() {
		say("cookie", one.String())
	}
	p.show("cookies", response)
	p.do("sent", "GET", "/cookies", nil, "Cookie", "first=1; second=two")
}

func (p *httpProgram) together() {
	found := make([]chan int, 12)
	for n := range found {
		found[n] = make(chan int, 1)
		go func() {
			response := must(p.client.Get(fmt.Sprint(p.base, "/echo/", n)))
			body := must(io.ReadAll(response.Body))
			response.Body.Close()
			found[n] <- len(body)
		}()
	}
	for n := range found {
		say("together", <-found[n])
	}
}

func (p *httpProgram) changed() {
	response := must(p.client.Post(p.base+"/echo", "text/plain", strings.NewReader("other")))
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	again := must(p.client.Get(p.base + "/text"))
	again.Body.Close()
	sayChanged("http.Response", response.Status[:3], again.StatusCode == 200)
}
