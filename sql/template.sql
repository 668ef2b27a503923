-- Liquid templates: each tag, filter, limit and error.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
RESET client_min_messages;
SET timezone = 'Europe/Berlin';
\pset format unaligned
\pset tuples_only on

-- Errors become rows: their SQLSTATE and message.
CREATE FUNCTION pg_temp.try(source text, data jsonb DEFAULT '{}', html boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    RETURN '[' || lifecycle.render_template(source, data, html) || ']';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- Values
SELECT pg_temp.try(source, '{"customer": {"first_name": "Ada", "age": 36, "balance": 42.10, "vip": true, "nick": null, "empty": "",
        "tags": ["a", "b", "c"], "address": {"city": "London", "post code": "W1"}, "größe": "XL", "no-reply": 1, "ok?": 2},
    "key": "city", "n": 1, "list": [1, [2, 3], {"a": 4}], "name": "top"}')
  FROM (VALUES
    ('plain text, no tags'),
    (''),
    ('{{ customer.first_name }}, {{customer.age}}, {{ customer.balance }}, {{ customer.vip }}, {{ name }}'),
    ('{{ customer.address.city }} {{ customer["address"].city }} {{ customer.address["post code"] }} {{ customer.address[key] }}'),
    ('{{ customer.größe }} {{ customer.no-reply }} {{ customer.ok? }}'),
    ('{{ customer.tags[0] }}{{ customer.tags[n] }}{{ customer.tags[-1] }}{{ customer["tags"][customer.tags.first.size] }}'),
    ('{{ customer.tags.size }} {{ customer.tags.first }} {{ customer.tags.last }} {{ customer.first_name.size }} {{ customer.address.size }}'),
    ('{{ customer.tags }} {{ list }} {{ customer.address }}'),
    ('{{ "double" }} {{ ''single'' }} {{ 12 }} {{ -3 }} {{ 1.50 }} {{ true }} {{ false }} {{ (1..3) }} {{ empty }}{{ blank }}'),
    ('{{ 123456789012345678901234567890.10 }} {{ 9223372036854775807 }}'),
    ('{{ "}}" }} {{ "{%" }} { } {{ ''%}'' }} {x} {'),
    ('{{ customer.empty }}'),
    -- what is missing is never nothing
    ('{{ customer.nick }}'),
    ('{{ customer.last_name }}'),
    ('{{ customer.address.street.number }}'),
    ('{{ customer.first_name.foo }}'),
    ('{{ customer.tags[7] }}'),
    ('{{ customer.address[nothing] }}'),
    (E'line one\nü {{ nothing }}'),
    ('{{ nothing | upcase | append: "x" }}'),
    ('{{ customer.first_name | append: customer.last_name }}'),
    ('{% assign x = customer.last_name %}{{ x }}'),
    ('{% if false %}{% assign x = 1 %}{% endif %}{{ x }}'),
    ('{{ nil }}'),
    ('{{ customer.last_name | default: nil }}')
  ) v (source);

-- Conditions and the other tags
SELECT pg_temp.try(source, '{"a": 1, "s": "team", "e": "", "b": "  ", "t": ["x", "y"], "o": {"k": 1, "l": null}, "f": false, "z": [],
    "p": {"l": null, "k": 1.0}, "q": {"l": null, "k": {}}, "l": [1, {"x": [2, "y"]}], "m": [1.0, {"x": [2, "y"]}]}')
  FROM (VALUES
    ('{% if a %}1{% endif %}{% if missing %}2{% endif %}{% if f %}3{% endif %}{% if e %}4{% endif %}{% if nil %}5{% endif %}'),
    ('{% if missing %}1{% elsif a == 2 %}2{% elsif a == 1 %}3{% else %}4{% endif %}{% if a != 1 %}5{% else %}6{% endif %}'),
    ('{% unless a %}1{% else %}2{% endunless %}{% unless f %}3{% endunless %}{% unless a %}4{% elsif a == 1 %}5{% endunless %}'),
    ('{% if a < 2 and a > 0 and a <= 1 and a >= 1 %}1{% endif %}{% if a <> 1 %}2{% endif %}{% if a == 1.0 %}3{% endif %}{% if 1.5 > a %}4{% endif %}'),
    ('{% if true or false and false %}right to left{% endif %}{% if false and true or true %}!{% endif %}'),
    ('{% if s == "team" %}1{% endif %}{% if "a" < "b" %}2{% endif %}{% if s == a %}3{% endif %}{% if a == "1" %}4{% endif %}'),
    ('{% if s contains "ea" %}1{% endif %}{% if t contains "y" %}2{% endif %}{% if o contains "k" %}3{% endif %}{% if t contains "z" %}4{% endif %}{% if missing contains "x" %}5{% endif %}{% if s contains missing %}6{% endif %}{% assign r = (1..5) %}{% if r contains 5 %}7{% endif %}'),
    ('{% if e == empty %}1{% endif %}{% if z == empty %}2{% endif %}{% if missing == empty %}3{% endif %}{% if b == blank %}4{% endif %}{% if missing == blank %}5{% endif %}{% if s != blank %}6{% endif %}{% if b == empty %}7{% endif %}'),
    ('{% if missing == nil %}1{% endif %}{% if missing == other %}2{% endif %}{% if missing < 3 %}3{% endif %}{% if missing != 3 %}4{% endif %}'),
    ('{% assign l = "x,y" | split: "," %}{% if t == l %}1{% endif %}{% if t == t %}2{% endif %}{% if o == o %}3{% endif %}{% if t == o %}4{% endif %}{% if f == false %}5{% endif %}'),
    ('{% if o == p %}1{% endif %}{% if o == q %}2{% endif %}{% if l == m %}3{% endif %}{% if l == o %}4{% endif %}{% if l != t %}5{% endif %}'),
    ('{% assign d = "2026-03-02" %}{% if "2026-03-01" < d %}1{% endif %}'),
    ('{% if s > 3 %}{% endif %}'),
    ('{% if t > 3 %}{% endif %}'),
    ('{% if a contains 3 %}{% endif %}'),
    ('{{ ["s"] }} {{ ["o"].k }} {% assign x = ["s"] %}{{ x }}'),
    ('{{ ["no word"].x }}'),
    ('{{ [1] }}'),
    ('{{ ["s" }}'),
    ('{% case s %} {% when "free" %}1{% when "team", "pro" or "max" %}2{% else %}3{% endcase %}'),
    ('{% case a %}{% when 2 or 1 %}1{% endcase %}{% case s %}{% when "x" %}2{% else %}3{% endcase %}{% case missing %}{% when nil %}4{% endcase %}'),
    ('{% for x in t %}{{ x }}{{ forloop.index }}{{ forloop.index0 }}{{ forloop.rindex }}{{ forloop.rindex0 }}{{ forloop.first }}{{ forloop.last }}{{ forloop.length }};{% endfor %}'),
    ('{% for x in z %}{{ x }}{% else %}none{% endfor %} {% for x in missing %}{{ x }}{% else %}none{% endfor %} {% for x in t %}{% endfor %}'),
    ('{% for i in (1..9) limit: 3 %}{{ i }}{% endfor %} {% for i in (1..9) limit: 3 offset: 2 %}{{ i }}{% endfor %} {% for i in (1..9) reversed, offset: 4, limit: a %}{{ i }}{% endfor %} {% for i in (1..3) offset: 3 %}{% else %}none{% endfor %}'),
    ('{% for i in (1..3) reversed %}{{ i }}{% endfor %} {% for i in (3..1) %}{{ i }}{% else %}empty{% endfor %} {% for i in (a..3) %}{{ i }}{% endfor %}'),
    ('{% for i in (1..9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}'),
    ('{% for i in (1..2) %}{% for j in (1..2) %}{{ i }}{{ j }}{{ forloop.parentloop.index }} {% endfor %}{{ forloop.index }}{% endfor %}'),
    ('{% for p in o %}{{ p[0] }}={{ p[1] | default: "-" }};{% endfor %} {% for c in s %}{{ c }}{% endfor %}'),
    ('{% for x in a %}{% endfor %}'),
    ('{% for x in (1..9) limit: missing %}{% endfor %}'),
    ('{% for x in (1..9) limit: -1 %}{% endfor %}'),
    ('{% for x in (1.5..9) %}{% endfor %}'),
    ('{% for x in t %}{{ forloop }}{% endfor %}'),
    ('{% for x in t %}{% assign last = forloop %}{% endfor %}{{ last.length }}'),
    ('{% assign x = s | upcase %}{{ x }}{% assign x = x | append: "!" %}{{ x }} {% for x in t %}{{ x }}{% endfor %}{{ x }}'),
    ('{{ s }}{% assign s = "local" %}{{ s }}'),
    ('{% capture x %}<{{ s }}>{% endcapture %}{{ x }}{{ x.size }}'),
    ('a{% comment %} {{ unknown }} {% if %} {% comment %} {% endcomment %} {% endcomment %}b{% # this is a comment, "too %}c'),
    ('{% raw %}{{ x }} {% if %}{% endraw %}|{% raw -%}  x {{ {%- endraw -%} | '),
    ('{% echo s | upcase %}'),
    (E'a \n {{- s -}} \n b'),
    (E'a  {%- if a -%}  b  {%- endif -%}  c {% if a %} d {% endif %} {{- -1 -}} '),
    (E'a {%- comment -%} x {%- endcomment -%} b')
  ) v (source);

-- Filters
SELECT pg_temp.try(source, '{"s": "hello World", "h": "<b>Tom & \"Jerry''s\"</b>", "i": 42, "m": 42.10, "neg": -7.5, "n": null, "f": false, "e": "", "t": ["b", null, "a"],
    "u": "12.5", "junk": "42 EUR", "o": [{"k": 1}, {"k": 2}], "lines": "a\r\nb\nc", "big": 123456789012345678901234567890}')
  FROM (VALUES
    ('{{ n | default: "x" }} {{ e | default: "x" }} {{ f | default: "x" }} {{ f | default: "x", allow_false: true }} {{ s | default: "x" }} {{ missing | default: i | plus: 1 }}'),
    ('{{ h | escape }} {{ "&lt; & <" | escape_once }} {{ "&lt;" | escape }}'),
    ('{{ s | upcase }} {{ s | downcase }} {{ s | capitalize }} {{ e | capitalize }} {{ i | upcase }}'),
    ('{{ m | round }} {{ m | round: 1 }} {{ i | round: 2 }} {{ 2.5 | round }} {{ neg | round }} {{ 1234 | round: -2 }} {{ u | round }} {{ "3" | round }}'),
    ('{{ junk | round }}'),
    ('{{ t | round }}'),
    ('{{ m | ceil }} {{ m | floor }} {{ neg | ceil }} {{ neg | floor }} {{ i | ceil }} {{ neg | abs }} {{ -3 | abs }} {{ 3 | at_least: 5 }} {{ 3 | at_most: 2.5 }}'),
    ('{{ i | plus: 1 }} {{ m | plus: 0.90 }} {{ m | minus: 0.1 }} {{ m | times: 2 }} {{ "3" | times: " 4 " }} {{ 9223372036854775807 | times: 2 }}'),
    ('{{ 10 | divided_by: 3 }} {{ -10 | divided_by: 3 }} {{ 10 | divided_by: 4.0 }} {{ 10.0 | divided_by: 4 }} {{ 10 | divided_by: -3 }} {{ big | divided_by: 7 }} {{ m | divided_by: 2 }}'),
    ('{{ 10 | modulo: 3 }} {{ -10 | modulo: 3 }} {{ 10 | modulo: -3 }} {{ 5.5 | modulo: 2 }} {{ big | modulo: 7 }} {{ -9223372036854775808 | modulo: -1 }} {{ -9223372036854775808 | divided_by: -1 }}'),
    ('{{ 1 | divided_by: 0 }}'),
    ('{{ 1 | modulo: 0.0 }}'),
    ('{{ s | plus: 1 }}'),
    ('{{ 1 | plus: f }}'),
    ('{{ 1 | plus: n }}'),
    ('[{{ "  x " | strip }}] [{{ "  x " | lstrip }}] [{{ "  x " | rstrip }}] {{ s | append: "!" | prepend: "> " }}'),
    ('{{ s | replace: "o", "0" }} {{ s | replace_first: "o", "0" }} {{ s | remove: "l" }} {{ s | replace: "x", "y" }}'),
    ('{{ s | replace: "", "y" }}'),
    ('{{ s | truncate: 8 }} {{ s | truncate: 8, "" }} {{ s | truncate: 20 }} {{ s | truncate: 2 }} {{ "größer" | truncate: 4, "…" }} {{ s | truncatewords: 1 }} {{ s | truncatewords: 2 }} {{ s | truncatewords: 1, "--" }}'),
    ('{{ "a,b,,c,," | split: "," | join: "+" }} {{ "größe" | split: "" | join }} {{ "a b" | split: " " | last }} {{ "" | split: "," | size }}'),
    ('{{ t | compact | join: "," }} {{ t | first }} {{ t | last }} {{ t | size }} {{ s | size }} {{ t | compact | reverse | join }} {{ o | map: "k" | join: "," }} {{ (1..3) | join: "-" }} {{ (1..3) | last }}'),
    ('{{ t | join }}'),
    ('{{ i | size }}'),
    ('{{ s | first }}'),
    ('{{ i | join }}'),
    ('{{ "a b&c/ü~" | url_encode }} {{ lines | newline_to_br }} {{ h | strip_html }} {{ "a<script>x<y</script>b<!-- > -->c<style>d</style>e<f" | strip_html }} {{ h | raw }}')
  ) v (source);

-- The case of letters follows the database.
SELECT lifecycle.render_template('{{ x | upcase }}|{{ x | downcase }}|{{ x | capitalize }}', '{"x": "éÜß a"}')
     = upper('éÜß a') || '|' || lower('éÜß a') || '|' || upper('é') || lower('Üß a');

-- Dates
SELECT pg_temp.try(source, '{"ts": "2026-03-29T01:30:45.123456Z", "local": "2026-03-01 09:05:00", "d": "2026-01-02", "epoch": 1772355900, "off": "2026-07-04T00:00:00-0430", "bad": "tomorrow"}')
  FROM (VALUES
    ('{{ ts | date: "%Y-%m-%d %H:%M:%S %z %:z %Z" }} {{ local | date: "%F %T %z" }} {{ off | date: "%F %R %Z" }} {{ d | date: "%F %R" }} {{ epoch | date: "%F %R" }}'),
    ('{{ ts | date: "%a %A %b %B %h %C %y %d %e %j %m %u %w %U %W %V %G %g" }}'),
    ('{{ local | date: "%H %I %k %l %M %S %L %N %3N %p %P %s %n%t%%" }}'),
    ('{{ "2026-03-01T00:00:00Z" | date: "%s" }} {{ "1969-12-31T23:59:59.5Z" | date: "%s" }} {{ 9224318000000 | date: "%s" }}'),
    ('{{ d | date: "%c|%D|%x|%F|%R|%r|%T|%X|%v" }}'),
    ('{{ d | date: "%-d.%-m. %_d %03d %^a %^B %#p %10A|%-y" }}'),
    ('{{ d | date: "" }}|{{ d | date: "just text" }}'),
    ('{% assign day = d | date: "%d" | plus: 0 %}{{ day }}'),
    ('{{ bad | date: "%Y" }}'),
    ('{{ "2026-02-30" | date: "%Y" }}'),
    ('{{ "2026-01-01T25:00" | date: "%Y" }}'),
    ('{{ true | date: "%Y" }}'),
    ('{{ 1e9 | date: "%Y" }}'),
    ('{{ 99999999999999 | date: "%Y" }}'),
    ('{{ missing | date: "%Y" }}'),
    ('{% assign f = "%Q" %}{{ d | date: f }}'),
    ('{{ d | date: "%Q" }}'),
    ('{{ d | date: "50%" }}'),
    ('{{ d | date: 5 }}'),
    ('{{ d | date }}')
  ) v (source);
SELECT lifecycle.render_template('{{ "now" | date: "%Y-%m-%d %H:%M:%S" }}{{ "today" | date: "%F" }}', '{}')
     = to_char(now(), 'YYYY-MM-DD HH24:MI:SSYYYY-MM-DD');

-- HTML escapes what is printed, once
SELECT pg_temp.try(source, '{"h": "<b>\"A&B''s\"</b>", "l": ["<", ">"], "lines": "<\n>", "n": 1}', true)
  FROM (VALUES
    ('<p>{{ h }}</p> {{ n }} {{ l }} {{ "<i>" }}'),
    ('{{ h | escape }} {{ h | raw }} {{ h | escape_once }} {{ h | upcase }} {{ h | escape | append: "<" }} {{ h | prepend: "<" }} {{ h | raw | strip }}'),
    ('{% capture x %}<i>{{ h }}</i>{% endcapture %}{{ x }} {% assign y = h | raw %}{{ y }}'),
    ('{{ lines | newline_to_br }} {{ h | strip_html }} {{ nothing | default: "<" }}')
  ) v (source);

-- Errors of the language: 42601, with line and column
SELECT pg_temp.try(source)
  FROM (VALUES
    ('{{ x'), ('{{ x %}'), ('{{ }}'), ('{{ x y }}'), ('{{ x. }}'), ('{{ x["a }}'), ('{{ x[1 }}'), ('{{ (1..) }}'), ('{{ (1,2) }}'), ('{{ (1..2 }}'),
    ('{{ x | }}'), ('{{ x | unknown }}'), ('{{ x | append }}'), ('{{ x | append: }}'), ('{{ x | append: 1, 2 }}'), ('{{ x | upcase: 1 }}'),
    ('{{ x | default: 1, foo: 2 }}'), ('{{ x | replace: 1 }}'), ('{{ x $ }}'), ('{{ ''x }}'), ('{{ x == 1 }}'), ('{{ 1.2.3 }}'),
    (E'ü\n\n ü {% if x %}'), ('{% %}'), ('{% unknown %}'), ('{% endif %}'), ('{% else %}'), ('{% if %}{% endif %}'), ('{% if x'), ('{% if x }}'), ('{% if x == %}{% endif %}'),
    ('{% if x y %}{% endif %}'), ('{% if x == y z %}{% endif %}'), ('{% if x | upcase == "X" %}{% endif %}'), ('{% if x = 1 %}{% endif %}'),
    ('{% if x %}{% endfor %}'), ('{% if x %}{% else %}{% elsif y %}{% endif %}'), ('{% if x %}{% else y %}{% endif %}'), ('{% if x %}{% endif y %}'), ('{% unless x %}{% endif %}'),
    ('{% case %}{% endcase %}'), ('{% case x %}text{% when 1 %}{% endcase %}'), ('{% case x %}{% when %}{% endcase %}'), ('{% case x %}{% when 1 %}'), ('{% case x %}{% else %}{% when 1 %}{% endcase %}'),
    ('{% for %}{% endfor %}'), ('{% for x %}{% endfor %}'), ('{% for x in %}{% endfor %}'), ('{% for x in y foo %}{% endfor %}'), ('{% for x in y limit %}{% endfor %}'), ('{% for x in y limit: 1 limit: 2 %}{% endfor %}'),
    ('{% for x in y %}'), ('{% for x in y %}{% else %}{% break %}{% endfor %}'), ('{% continue %}'), ('{% break x %}'),
    ('{% assign %}'), ('{% assign x %}'), ('{% assign x = %}'), ('{% assign x.y = 1 %}'), ('{% capture %}{% endcapture %}'), ('{% capture x %}'),
    ('{% comment %} {% comment %} {% endcomment %}'), ('{% raw %} {% endraw x %}'), ('{% # comment'), ('{% echo %}')
  ) v (source);

-- Limits: 54000 when the template is too big, a reason when rendering is
SELECT pg_temp.try(repeat('x', 262145));
SELECT length(pg_temp.try(repeat('x', 262144)));
SELECT pg_temp.try(repeat('{% if true %}', 99) || 'x' || repeat('{% endif %}', 99));
SELECT pg_temp.try(repeat('{% if true %}', 100) || 'x' || repeat('{% endif %}', 100));
SELECT pg_temp.try('{{ ' || repeat('x[', 101) || '1' || repeat(']', 101) || ' }}');
SELECT pg_temp.try('{{ ' || repeat('(', 101) || ' }}');
SELECT pg_temp.try(repeat('{{1}}', 25001));
SELECT length(pg_temp.try(repeat('{{1}}', 25000)));
SELECT pg_temp.try(string_agg('{{x' || i || '}}', '')) FROM generate_series(1, 1001) i;
SELECT pg_temp.try(string_agg('{%assign x' || i || '=1%}', '')) FROM generate_series(1, 1001) i;
SELECT pg_temp.try('{{ ' || repeat('1', 101) || ' }}');
SELECT pg_temp.try('{% for i in (1..1000000000000) %}{% endfor %}');
SELECT pg_temp.try('{% for i in (-9223372036854775808..9223372036854775807) %}{% for j in (1..100000) %}{% endfor %}{% endfor %}');
SELECT pg_temp.try('{{ (1..1000000000000) | join }}');
SELECT pg_temp.try('{% for i in (1..100000) %}0123456789012{% endfor %}');
SELECT pg_temp.try('{% assign x = "0123456789" %}{% for i in (1..100) %}{% assign x = x | append: x %}{% endfor %}');
SELECT pg_temp.try('{% for i in (1..100000) %}{% capture x %}{{ i }}{% endcapture %}{% endfor %}');
SELECT pg_temp.try('{% assign x = "9" %}{% for i in (1..100) %}{% assign x = x | times: x %}{% endfor %}');
SELECT pg_temp.try('{{ x | plus: 1 }}', jsonb_build_object('x', repeat('9', 5000)::numeric));
SELECT pg_temp.try('{{ x | date: f }}', jsonb_build_object('x', 1, 'f', repeat('%c', 501)));

-- Work that is hidden in one step is counted too
SELECT pg_temp.try('{% for i in (1..1000) %}{% if x == y %}{% endif %}{% endfor %}', jsonb_build_object('x', a, 'y', a))
  FROM (SELECT jsonb_build_object('k', jsonb_agg(i)) a FROM generate_series(1, 10000) i) s;
SELECT pg_temp.try('{% for i in (1..1000) %}{% if x.y.size == 1 %}{% endif %}{% endfor %}', jsonb_build_object('x', jsonb_build_object('y', repeat('x', 1000000))));
SELECT pg_temp.try('{% for i in (1..1000) %}{% if x == blank %}{% endif %}{% endfor %}', jsonb_build_object('x', repeat(' ', 1000000)));
SELECT pg_temp.try('{% for i in (1..1000) %}{% if x < y %}{% endif %}{% endfor %}', jsonb_build_object('x', n, 'y', n))
  FROM (SELECT repeat('9', 50000)::numeric n) s;
SELECT length(pg_temp.try('{{ x | strip_html }}', jsonb_build_object('x', repeat('<script', 100000))));

-- Data must be an object
SELECT pg_temp.try('x', '[1]');
SELECT lifecycle.render_template(NULL, '{}') IS NULL;

-- A reason quotes no more than a part of a long value
SELECT pg_temp.try('{{ x | plus: 1 }}', jsonb_build_object('x', repeat('ü', 1000)));
