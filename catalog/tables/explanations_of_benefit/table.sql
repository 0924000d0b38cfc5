-- The claim's own totals, else its adjudication as a whole; where the payer tells neither, the sum of the lines without
-- their total line.
WITH told AS (
  SELECT *, bool_or(level = 'total') OVER (PARTITION BY explanation_of_benefit_key, category_code) AS has_total
  FROM explanation_of_benefit_amounts
  WHERE level <> 'line'
),

totals AS (
  SELECT
    explanation_of_benefit_key,
    sum(amount) FILTER (WHERE category_code = 'submitted') AS billed_amount,
    sum(amount) FILTER (WHERE category_code = 'eligible') AS allowed_amount,
    sum(amount) FILTER (WHERE category_code = 'drugcost') AS drug_cost_amount,
    sum(amount) FILTER (WHERE category_code = 'benefit') AS paid_amount,
    sum(amount) FILTER (WHERE category_code = 'deductible') AS deductible_amount,
    sum(amount) FILTER (WHERE category_code = 'coinsurance') AS coinsurance_amount,
    sum(amount) FILTER (WHERE category_code = 'copay') AS copay_amount,
    sum(amount) FILTER (WHERE category_code = 'paidbypatient') AS paid_by_patient_amount,
    sum(amount) FILTER (WHERE category_code = 'memberliability') AS member_liability_amount,
    sum(amount) FILTER (WHERE category_code = 'noncovered') AS noncovered_amount,
    sum(amount) FILTER (WHERE category_code = 'priorpayerpaid') AS prior_payer_paid_amount
  FROM told
  WHERE level = 'total' OR NOT has_total
  GROUP BY explanation_of_benefit_key
),

lines AS (
  SELECT
    explanation_of_benefit_key,
    sum(billed_amount) AS billed_amount,
    sum(allowed_amount) AS allowed_amount,
    sum(drug_cost_amount) AS drug_cost_amount,
    sum(paid_amount) AS paid_amount,
    sum(patient_share_amount) AS patient_share_amount
  FROM explanation_of_benefit_lines
  WHERE NOT is_total_line
  GROUP BY explanation_of_benefit_key
),

-- Every currency that the record names, so that amounts of several are not added.
currencies AS (
  SELECT explanation_of_benefit_key, max(currency_code) AS currency_code, count(DISTINCT currency_code) <= 1 AS is_one
  FROM (
    SELECT explanation_of_benefit_key, currency_code FROM explanation_of_benefit_amounts
    UNION ALL
    SELECT explanation_of_benefit_key, payment_currency_code FROM explanation_of_benefit_headers
  ) AS named
  GROUP BY explanation_of_benefit_key
)
SELECT
  h.explanation_of_benefit_key,
  h.patient_key,
  h.silo,
  h.payer_key,
  h.coverage_key,
  h.status,
  h.claim_use,
  h.outcome_code,
  h.claim_type_code,
  h.claim_type_system,
  h.claim_type_display,
  h.claim_subtype_code,
  h.claim_subtype_system,
  h.claim_subtype_display,
  h.billable_started_at,
  h.billable_ended_at,
  h.created_at,
  h.paid_date,
  CAST(coalesce(t.billed_amount, l.billed_amount) AS DECIMAL(18, 2)) AS billed_amount,
  CAST(coalesce(t.allowed_amount, l.allowed_amount) AS DECIMAL(18, 2)) AS allowed_amount,
  CAST(coalesce(t.drug_cost_amount, l.drug_cost_amount) AS DECIMAL(18, 2)) AS drug_cost_amount,
  CAST(
    CASE WHEN c.is_one THEN coalesce(t.paid_amount, h.payment_amount, l.paid_amount) END AS DECIMAL(18, 2)
  ) AS paid_amount,
  CAST(coalesce(
    t.paid_by_patient_amount,
    t.member_liability_amount,
    -- A deductible alone is not the whole: Medicare tells the coinsurance of a professional claim by line.
    CASE
      WHEN coalesce(t.coinsurance_amount, t.copay_amount) IS NOT NULL
        THEN coalesce(t.deductible_amount, 0) + coalesce(t.coinsurance_amount, 0) + coalesce(t.copay_amount, 0)
    END,
    l.patient_share_amount,
    t.deductible_amount
  ) AS DECIMAL(18, 2)) AS patient_share_amount,
  CAST(t.deductible_amount AS DECIMAL(18, 2)) AS deductible_amount,
  CAST(t.coinsurance_amount AS DECIMAL(18, 2)) AS coinsurance_amount,
  CAST(t.copay_amount AS DECIMAL(18, 2)) AS copay_amount,
  CAST(t.paid_by_patient_amount AS DECIMAL(18, 2)) AS paid_by_patient_amount,
  CAST(t.member_liability_amount AS DECIMAL(18, 2)) AS member_liability_amount,
  CAST(t.noncovered_amount AS DECIMAL(18, 2)) AS noncovered_amount,
  CAST(t.prior_payer_paid_amount AS DECIMAL(18, 2)) AS prior_payer_paid_amount,
  CASE WHEN c.is_one THEN c.currency_code END AS currency_code,
  h.is_counted
FROM explanation_of_benefit_headers AS h
JOIN currencies AS c ON c.explanation_of_benefit_key = h.explanation_of_benefit_key
LEFT JOIN totals AS t ON t.explanation_of_benefit_key = h.explanation_of_benefit_key AND c.is_one
LEFT JOIN lines AS l ON l.explanation_of_benefit_key = h.explanation_of_benefit_key AND c.is_one
