SELECT id, gender, birthDate AS birth_date, n.use, n.family, n.given[1] AS given, n.prefix[1] AS prefix
FROM (SELECT id, gender, birthDate, unnest(name) AS n FROM {Patient})
