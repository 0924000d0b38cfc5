-- The last day that a silo has anything of: until then a coverage that lasts is known to have lasted.
WITH last_days AS (
  SELECT silo, max(day) AS last_day
  FROM (
    SELECT silo, to_date(coalesce(billable_ended_at, billable_started_at)) AS day
    FROM explanations_of_benefit
    WHERE is_counted
    UNION ALL
    SELECT silo, to_date(coalesce(ended_at, started_at)) FROM encounters WHERE is_counted
    UNION ALL
    SELECT silo, coalesce(ended_date, started_date) FROM coverages WHERE is_counted
  ) AS days
  GROUP BY silo
),

spans AS (
  -- A coverage that is cancelled and has no end ended on a day that nobody tells: it gives no span.
  SELECT c.patient_key, c.silo, 'coverage' AS basis, c.started_date, coalesce(c.ended_date, l.last_day) AS ended_date,
    c.ended_date IS NULL AS is_open
  FROM coverages AS c
  JOIN last_days AS l ON l.silo = c.silo
  WHERE c.is_counted AND NOT c.is_mentioned_only AND c.started_date IS NOT NULL
    AND (c.ended_date IS NOT NULL OR c.status = 'active')
  UNION ALL
  SELECT patient_key, min(silo), 'claims', min(to_date(billable_started_at)),
    max(to_date(coalesce(billable_ended_at, billable_started_at))), false
  FROM explanations_of_benefit
  WHERE is_counted AND billable_started_at IS NOT NULL
  GROUP BY patient_key
  UNION ALL
  SELECT patient_key, min(silo), 'encounters', min(to_date(started_at)), max(to_date(coalesce(ended_at, started_at))), false
  FROM encounters
  WHERE is_counted AND started_at IS NOT NULL
  GROUP BY patient_key
),

-- Nobody is observed after death. The silo is the patient's: a fact may have come by another door of the same hospital.
alive AS (
  SELECT s.patient_key, coalesce(p.silo, s.silo) AS silo, s.basis, s.started_date,
    least(s.ended_date, p.death_date) AS ended_date,
    s.is_open AND p.death_date IS NULL AS is_open
  FROM spans AS s
  LEFT JOIN patients AS p ON p.patient_key = s.patient_key
),

-- A span that begins later than a day after all earlier ones have ended begins a new island.
marked AS (
  SELECT *,
    CASE WHEN started_date <= max(ended_date) OVER (
      PARTITION BY patient_key, basis ORDER BY started_date, ended_date ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) + 1 THEN 0 ELSE 1 END AS is_new
  FROM alive
  WHERE started_date <= ended_date
),

islands AS (
  SELECT *, sum(is_new) OVER (PARTITION BY patient_key, basis ORDER BY started_date, ended_date) AS island
  FROM marked
)
SELECT
  patient_key,
  min(silo) AS silo,
  basis,
  min(started_date) AS started_date,
  max(ended_date) AS ended_date,
  bool_or(is_open) AS is_open,
  datediff(max(ended_date), min(started_date)) + 1 AS days
FROM islands
GROUP BY patient_key, basis, island
