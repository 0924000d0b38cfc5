-- The usual categories of a line's amounts side by side; an amount that is not told stays null.
WITH amounts AS (
  SELECT
    explanation_of_benefit_key,
    line_number,
    sum(amount) FILTER (WHERE category_code = 'submitted') AS billed_amount,
    sum(amount) FILTER (WHERE category_code = 'eligible') AS allowed_amount,
    sum(amount) FILTER (WHERE category_code = 'drugcost') AS drug_cost_amount,
    sum(amount) FILTER (WHERE category_code = 'benefit') AS paid_amount,
    sum(amount) FILTER (WHERE category_code = 'deductible') AS deductible_amount,
    -- Of the two coinsurances of a Medicare revenue centre the reduced one, where the provider took less, is in the place
    -- of the other: they are not to be added.
    coalesce(
      sum(amount) FILTER (WHERE category_code = 'coinsurance' AND is_reduced_coinsurance AND amount <> 0),
      sum(amount) FILTER (WHERE category_code = 'coinsurance' AND NOT is_reduced_coinsurance),
      sum(amount) FILTER (WHERE category_code = 'coinsurance')
    ) AS coinsurance_amount,
    sum(amount) FILTER (WHERE category_code = 'copay') AS copay_amount,
    sum(amount) FILTER (WHERE category_code = 'paidbypatient') AS paid_by_patient_amount,
    sum(amount) FILTER (WHERE category_code = 'memberliability') AS member_liability_amount,
    sum(amount) FILTER (WHERE category_code = 'noncovered') AS noncovered_amount,
    sum(amount) FILTER (WHERE category_code = 'priorpayerpaid') AS prior_payer_paid_amount,
    max(currency_code) AS currency_code
  FROM (
    SELECT *, coalesce(source_category_code LIKE '%/rev_cntr_rdcd_coinsrnc_amt', false) AS is_reduced_coinsurance
    FROM explanation_of_benefit_amounts
    WHERE level = 'line'
  ) AS told
  GROUP BY explanation_of_benefit_key, line_number
  -- Amounts of several currencies have no sum.
  HAVING count(DISTINCT currency_code) <= 1
)
SELECT
  i.explanation_of_benefit_key,
  i.patient_key,
  i.silo,
  i.line_number,
  i.encounter_key,
  i.product_code,
  i.product_system,
  i.product_display,
  i.source_display,
  i.revenue_code,
  i.is_total_line,
  coalesce(i.service_started_date, i.service_date) AS service_started_date,
  i.service_ended_date,
  i.quantity,
  i.quantity_unit,
  CAST(a.billed_amount AS DECIMAL(18, 2)) AS billed_amount,
  CAST(a.allowed_amount AS DECIMAL(18, 2)) AS allowed_amount,
  CAST(a.drug_cost_amount AS DECIMAL(18, 2)) AS drug_cost_amount,
  CAST(a.paid_amount AS DECIMAL(18, 2)) AS paid_amount,
  CAST(coalesce(
    a.paid_by_patient_amount,
    a.member_liability_amount,
    CASE
      WHEN coalesce(a.deductible_amount, a.coinsurance_amount, a.copay_amount) IS NOT NULL
        THEN coalesce(a.deductible_amount, 0) + coalesce(a.coinsurance_amount, 0) + coalesce(a.copay_amount, 0)
    END
  ) AS DECIMAL(18, 2)) AS patient_share_amount,
  CAST(a.deductible_amount AS DECIMAL(18, 2)) AS deductible_amount,
  CAST(a.coinsurance_amount AS DECIMAL(18, 2)) AS coinsurance_amount,
  CAST(a.copay_amount AS DECIMAL(18, 2)) AS copay_amount,
  CAST(a.paid_by_patient_amount AS DECIMAL(18, 2)) AS paid_by_patient_amount,
  CAST(a.member_liability_amount AS DECIMAL(18, 2)) AS member_liability_amount,
  CAST(a.noncovered_amount AS DECIMAL(18, 2)) AS noncovered_amount,
  CAST(a.prior_payer_paid_amount AS DECIMAL(18, 2)) AS prior_payer_paid_amount,
  a.currency_code,
  coalesce(h.is_counted, false) AS is_counted
FROM explanation_of_benefit_items AS i
LEFT JOIN amounts AS a
  ON a.explanation_of_benefit_key = i.explanation_of_benefit_key AND a.line_number = i.line_number
LEFT JOIN explanation_of_benefit_headers AS h ON h.explanation_of_benefit_key = i.explanation_of_benefit_key
