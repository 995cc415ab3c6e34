"""What people call a program that an interpreter runs."""

from __future__ import annotations

import pytest

from kebpf.capture.naming import name_program

OTHERWISE = "comm"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        # python(1): -m and -c end the options, -W and -X take a value
        ("python3 -m shop.main --port 1", "shop.main"),
        ("/usr/bin/python3.11 -u -X dev -W error -m shop", "shop"),
        ("python3 -Im shop", "shop"),
        ("python3 -mshop", "shop"),
        ("python3 -Xdev -Werror serve.py", "serve"),
        ("python3 --check-hash-based-pycs always serve.py", "serve"),
        ("python /srv/app/.venv/bin/gunicorn shop.wsgi", "gunicorn"),
        ("python3.13t manage.py runserver", "manage"),
        ("pypy3 /opt/shop/__main__.py", "shop"),
        ("python3 -m shop.__main__", "shop"),
        ("python3 /srv/a.b/serve", "serve"),
        ("python3 /srv/v1.2/serve-1.2.py", "serve-1.2"),
        ("python3 -c pass", OTHERWISE),
        ("python3 -uc pass", OTHERWISE),
        ("python3", OTHERWISE),
        ("python3 -", OTHERWISE),
        ("python3 -m", OTHERWISE),
        # node(1)
        ("node server.js", "server"),
        ("node --inspect --require ./tracing.js -r dotenv/config dist/server.mjs x.js", "server"),
        ("/usr/bin/nodejs /srv/shop/index.js", "shop"),
        ("node index.js", "index"),
        ("node -e 1", OTHERWISE),
        ("node --max-old-space-size=100 api.cjs", "api"),
        # java(1)
        ("java -jar app.jar --server.port=1", "app"),
        ("/usr/lib/jvm/java-17/bin/java -Xmx1g -Dx=y -cp a.jar:b.jar com.acme.Shop x", "Shop"),
        ("java @options -jar /opt/shop-1.4.jar", "shop-1.4"),
        ("java --module-path mods -m shop/com.acme.Main", "Main"),
        ("java --add-opens java.base/java.lang=ALL-UNNAMED Shop.java", "Shop"),
        ("java -version", OTHERWISE),
        # others
        ("ruby -I lib bin/serve.rb", "serve"),
        ("perl -e 1", OTHERWISE),
        ("deno run --allow-net serve.ts", "serve"),
        ("php8.2 -S 0:80 router.php", "0:80"),
        ("redis-server *:6379", OTHERWISE),
        ("/opt/shop/bin/node_exporter --web", OTHERWISE),
        ("gunicorn: master [shop.wsgi]", OTHERWISE),
        ("", OTHERWISE),
    ],
)
def test_a_program_is_called_after_what_it_runs(command: str, name: str) -> None:
    assert name_program(command.split(), OTHERWISE) == name


def test_no_words_make_it_fail() -> None:
    for words in ([""], ["python3", ""], ["java", "-jar"], ["java", "-m", "x"], ["node", "/"]):
        assert name_program(words, OTHERWISE) in (OTHERWISE, "")
