-- Forty products; number 40 is sold out.
INSERT INTO products (id, sku, name, description, category, price, stock, tags, attributes, updated_at)
SELECT
    n,
    'SKU-' || lpad(n::text, 4, '0'),
    (ARRAY['Kettle', 'Lamp', 'Notebook', 'Teapot', 'Café table', 'Scarf', 'Puzzle', 'Candle'])[1 + n % 8]
        || ' ' || (ARRAY['Oslo', 'Lyon', 'Kyōto', 'Graz', 'Porto'])[1 + n % 5],
    'A well made thing, number ' || n || ', “as good as new”.',
    (ARRAY['kitchen', 'light', 'paper', 'garden'])[1 + n % 4],
    (5 + n * 7 % 90) + 0.05 * (n % 20),
    CASE WHEN n = 40 THEN 0 ELSE 1000000 END,
    CASE WHEN n % 3 = 0 THEN ARRAY['new', 'sale'] WHEN n % 3 = 1 THEN ARRAY['classic'] ELSE ARRAY[]::text[] END,
    jsonb_build_object('weight', n * 0.25, 'fragile', n % 2 = 0, 'sizes', jsonb_build_array('S', 'L')),
    timestamptz '2026-01-01 00:00:00Z' + n * interval '1 hour'
FROM generate_series(1, 40) AS n;
